// rotate, and the ops over a tiled KV cache. kv_seal: tasks are (tile, head, K or V). kv_summary:
// tasks are (page, head).
// tile_attention: tasks as in attention. kv_window: rows of the step are shared out.
#include <cstring>

#include "backends/cpu/steps/steps.h"
#include "quant/kv_codecs.h"
#include "quant/kv_sparse.h"
#include "runtime/base/checked.h"

namespace runnel::cpu::steps {
namespace {

static_assert(kTilesCount == static_cast<int>(quant::KvFormat::count));
static_assert(kKvTokens == quant::kKvTileTokens && kKvChannels == quant::kKvChannels);
static_assert(kBlockTiles == quant::kKvBlockTiles && kSinkSlots == quant::kKvSinkTokens);

const std::byte* window_of(const StepContext& context, const Operand& window) {
  return context.state(window).host_pages[0];
}

/// Place of the first token whose keys and values are new.
std::int64_t first_new(const StepContext& context) {
  return std::max(context.params.kv_pos(),
                  std::int64_t{context.params.kv_keep} - context.params.kv_gap);
}

/// Byte offset of a head's rows in a window; heads of V follow those of K.
std::int64_t head_rows(const Operand& window, std::int64_t half, std::int64_t head) {
  return (half * window.shape[0] / 2 + head) * window.shape[1] * window.row_bytes();
}

/// One tile of one head and 64 channels: its rows as f32, encoded.
void seal(const Step& step,
          const StepContext& context,
          std::size_t half,
          std::int64_t first,
          std::int64_t vector) {
  const Operand &state = step.in[2 + half], &window = step.in[4];
  const auto& attr = step.attr_as<KvWindowAttr>();
  const std::int64_t dh = state.cols(), parts = dh / kKvChannels;
  const std::int64_t head = attr.head_at(vector / parts), part = vector % parts;
  const std::int64_t split = first_new(context);
  const std::byte* rows =
      window_of(context, window) + head_rows(window, static_cast<std::int64_t>(half), head);
  float tile[kKvCodes];
  for (std::int64_t t = 0; t < kKvTokens; ++t) {
    const std::int64_t position = first + t;
    float* to = tile + t * kKvChannels;
    if (position >= split) {
      const float* from = step.in[half].row(position - context.params.kv_pos());
      std::copy_n(from + head * dh + part * kKvChannels, kKvChannels, to);
      continue;
    }
    const std::int64_t slot =
        quant::kv_window_slot(position, window.shape[1], attr.sinks, context.params.kv_gap);
    step.kernels->from_f16(rows + slot * window.row_bytes() + part * kKvChannels * 2, to,
                           kKvChannels);
  }
  std::byte* page = context.state(state).host_pages[static_cast<std::size_t>(first / kPageTokens)];
  std::byte* block = page + static_cast<std::size_t>(vector) * quant::kv_block_bytes(state.kv);
  const int index = static_cast<int>(first % kPageTokens / kKvTokens);
  step.kernels->seal({static_cast<Tiles>(state.kv), half == 0, tile,
                      reinterpret_cast<uint8_t*>(quant::kv_tile_codes(state.kv, block, index)),
                      reinterpret_cast<uint8_t*>(quant::kv_tile_scales(state.kv, block, index))});
}

/// Without pages for a head that streams.
TiledRows tiled_rows(const Step& step,
                     const StepContext& context,
                     std::size_t half,
                     std::int64_t head) {
  const Operand &rows = step.in[1 + half], &state = step.in[3 + half], &window = step.in[5];
  const std::int64_t dh = state.cols();
  const auto block = static_cast<std::int64_t>(quant::kv_block_bytes(state.kv));
  const KvWindowAttr& tiles = step.attr_as<AttentionAttr>().tiles;
  const auto* pages = reinterpret_cast<const void* const*>(context.state(state).host_pages.data());
  return {static_cast<Tiles>(state.kv),
          block,
          static_cast<std::int64_t>(quant::kv_scales_offset(state.kv)),
          tiles.streams(head) ? nullptr : pages,
          tiles.page_head(head) * (dh / kKvChannels) * block,
          window_of(context, window) + head_rows(window, static_cast<std::int64_t>(half), head),
          rows.row(0) + head * dh,
          rows.cols()};
}

constexpr std::int64_t kBoundsAtOnce = 64;

/// Chooses pages for tokens of a step, in scratch of the thread.
struct PageChooser {
  SeenPages* seen;       // [tokens]
  std::int32_t* pages;   // [tokens][group * most]
  float *best, *bounds;  // [most], [kBoundsAtOnce]
  std::int64_t group, most;

  /// A whole number of cache lines: other scratch follows.
  static std::size_t bytes(const AttentionAttr& attr, std::int64_t tokens) {
    if (attr.sparse.pages == 0) return 0;
    const std::int64_t lists = tokens * (attr.n_heads / attr.n_kv_heads) * attr.sparse.pages;
    return align_up(static_cast<std::size_t>(tokens) * sizeof(SeenPages) +
                        static_cast<std::size_t>(lists) * sizeof(std::int32_t) +
                        static_cast<std::size_t>(attr.sparse.pages + kBoundsAtOnce) * sizeof(float),
                    64);
  }
  PageChooser(const AttentionAttr& attr, std::int64_t tokens, std::byte* scratch)
      : seen(reinterpret_cast<SeenPages*>(scratch)),
        pages(reinterpret_cast<std::int32_t*>(seen + tokens)),
        best(reinterpret_cast<float*>(pages +
                                      tokens * attr.n_heads / attr.n_kv_heads * attr.sparse.pages)),
        bounds(best + attr.sparse.pages),
        group(attr.n_heads / attr.n_kv_heads),
        most(attr.sparse.pages) {}

  /// The pages that token number t of the step sees with the query heads of KV head `head`.
  SeenPages choose(const Step& step,
                   const StepContext& context,
                   std::int64_t t,
                   std::int64_t head,
                   std::int32_t* list) const {
    const auto& attr = step.attr_as<AttentionAttr>();
    const Operand& summaries = step.in[6];
    const std::int64_t place = context.params.kv_pos() + t;
    if (place + 1 < attr.sparse.from) return {nullptr, 0, 0};
    const auto local = static_cast<std::int32_t>(quant::kv_local_page(place, attr.tiles.recent));
    const auto* rows =
        reinterpret_cast<const void* const*>(context.state(summaries).host_pages.data());
    std::int32_t n = 0;
    for (std::int64_t h = head * group; h < (head + 1) * group; ++h) {
      quant::BestPages chosen{best, list + n, static_cast<std::int32_t>(most)};
      for (std::int32_t first = 1; first < local; first += kBoundsAtOnce) {
        const std::int64_t some = std::min<std::int64_t>(kBoundsAtOnce, local - first);
        step.kernels->page_bounds({step.in[0].row(t) + h * attr.head_dim, attr.head_dim,
                                   rows + first, attr.tiles.page_head(head) * summaries.row_bytes(),
                                   some, quant::kKvRadiusShare, bounds});
        for (std::int32_t i = 0; i < some; ++i) chosen.offer(bounds[i], first + i);
      }
      n += chosen.n;
    }
    return {list, quant::unite_pages({list, static_cast<std::size_t>(n)}), local};
  }
};

std::int64_t tile_tokens(const AttentionAttr& attr) {
  return std::max<std::int64_t>(1, kAttentionRows / (attr.n_heads / attr.n_kv_heads));
}

}  // namespace

void rotate(const Step& step, const StepContext& context) {
  const Operand &x = step.in[0], &gains = step.in[1];
  const auto& attr = step.attr_as<RotateAttr>();
  const std::int64_t per_row = x.cols() / kKvChannels;
  const Range vectors = context.share(x.rows(context.params.n_tokens) * per_row);
  const bool inverse = attr.direction == quant::Direction::inverse;
  step.kernels->rotate({step.out[0].row(0), x.row(0), gains.present() ? gains.row(0) : nullptr,
                        per_row, vectors.begin, vectors.end, attr.signs, inverse, attr.transform,
                        attr.round});
}

void kv_seal(const Step& step, const StepContext& context) {
  const auto& attr = step.attr_as<KvWindowAttr>();
  const std::int64_t last = context.params.kv_pos() + context.params.n_tokens - 1;
  const std::int64_t end = quant::kv_sealed_before(last, attr.recent);
  const std::int64_t first =
      std::max<std::int64_t>(context.params.kv_sealed - context.params.kv_gap, attr.sinks);
  if (first >= end) return;
  const Operand& state = step.in[2];
  const std::int64_t vectors = state.shape[0] * (state.cols() / kKvChannels);
  const std::int64_t tasks = (end - first) / kKvTokens * vectors * 2;
  for (std::int64_t i; (i = context.take_task()) < tasks;)
    seal(step, context, static_cast<std::size_t>(i % 2), first + i / 2 / vectors * kKvTokens,
         i / 2 % vectors);
}

void kv_summary(const Step& step, const StepContext& context) {
  const Operand &state = step.in[0], &summaries = step.in[1];
  const std::int64_t last = context.params.kv_pos() + context.params.n_tokens - 1;
  const std::int64_t end =
      quant::kv_sealed_before(last, step.attr_as<KvWindowAttr>().recent) / kPageTokens;
  const std::int64_t sealed = std::max(0, context.params.kv_sealed - context.params.kv_gap);
  const std::int64_t first = std::max<std::int64_t>(1, sealed / kPageTokens);
  if (first >= end) return;
  const std::int64_t heads = state.shape[0];
  const std::size_t head_bytes =
      static_cast<std::size_t>(state.cols() / kKvChannels) * quant::kv_block_bytes(state.kv);
  for (std::int64_t i; (i = context.take_task()) < (end - first) * heads;) {
    const auto page = static_cast<std::size_t>(first + i / heads);
    const std::int64_t head = i % heads;
    quant::kv_summarise(
        state.kv,
        context.state(state).host_pages[page] + static_cast<std::size_t>(head) * head_bytes,
        state.cols(), context.state(summaries).host_pages[page] + head * summaries.row_bytes());
  }
}

Scratch tile_attention_scratch(const Graph&, const Node& node) {
  const AttentionAttr* attr = std::get_if<AttentionAttr>(&node.attr);
  if (attr == nullptr) return {};
  const std::int64_t rows = tile_tokens(*attr) * (attr->n_heads / attr->n_kv_heads) + 16;
  Scratch scratch;
  scratch.own =
      sizeof(float) * static_cast<std::size_t>(tile_attention_floats(rows, attr->head_dim)) +
      PageChooser::bytes(*attr, tile_tokens(*attr));
  return scratch;
}

void tile_attention(const Step& step, const StepContext& context) {
  const Operand &q = step.in[0], &out = step.out[0];
  const auto& attr = step.attr_as<AttentionAttr>();
  const std::int64_t n_tokens = context.params.n_tokens, per_tile = tile_tokens(attr);
  const std::int64_t tiles = (n_tokens + per_tile - 1) / per_tile;
  TileAttentionTask task{};
  task.row_stride = q.cols();
  task.group = attr.n_heads / attr.n_kv_heads;
  task.head_dim = attr.head_dim;
  task.step_pos = context.params.kv_pos();
  task.split = first_new(context);
  task.gap = context.params.kv_gap;
  task.slots = step.in[5].shape[1];
  task.sinks = attr.tiles.sinks;
  task.recent = attr.tiles.recent;
  task.scale = attr.scale;
  const PageChooser chooser(attr, per_tile, context.own);
  task.scratch = reinterpret_cast<float*>(context.own + PageChooser::bytes(attr, per_tile));
  for (std::int64_t i; (i = context.take_task()) < tiles * attr.n_kv_heads;) {
    const std::int64_t tile = tiles - 1 - i / attr.n_kv_heads, g = i % attr.n_kv_heads;
    const std::int64_t first = tile * per_tile, column = g * task.group * task.head_dim;
    task.q = q.row(first) + column;
    task.out = out.row(first) + column;
    task.n_tokens = std::min(per_tile, n_tokens - first);
    task.pos = context.params.kv_pos() + first;
    task.seen = attr.sparse.pages > 0 && !attr.tiles.streams(g) ? chooser.seen : nullptr;
    for (std::int64_t t = 0; task.seen != nullptr && t < task.n_tokens; ++t)
      chooser.seen[t] = chooser.choose(step, context, first + t, g,
                                       chooser.pages + t * task.group * attr.sparse.pages);
    task.k = tiled_rows(step, context, 0, g);
    task.v = tiled_rows(step, context, 1, g);
    step.kernels->tile_attention(task);
  }
}

void kv_window(const Step& step, const StepContext& context) {
  const auto& attr = step.attr_as<KvWindowAttr>();
  const Operand& window = step.in[2];
  const std::int64_t pos = context.params.kv_pos(), end = pos + context.params.n_tokens;
  const std::int64_t split = first_new(context);
  const std::int64_t ring = window.shape[1] - kSinkSlots, n_heads = window.shape[0] / 2;
  const Range units = context.share(2 * n_heads);
  for (std::int64_t u = units.begin; u < units.end; ++u) {
    const std::int64_t half = u / n_heads, head = u % n_heads;
    std::byte* rows = context.state(window).host_pages[0] + head_rows(window, half, head);
    const Operand& x = step.in[static_cast<std::size_t>(half)];
    for (std::int64_t position = split; position < end; ++position) {
      if (position >= attr.sinks && position < end - ring) continue;  // overwritten by later ones
      const std::int64_t slot =
          quant::kv_window_slot(position, window.shape[1], attr.sinks, context.params.kv_gap);
      step.kernels->to_f16(x.row(position - pos) + head * window.cols(),
                           rows + slot * window.row_bytes(), window.cols());
    }
  }
}

}  // namespace runnel::cpu::steps
