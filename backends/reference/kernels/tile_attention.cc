// tile_attention: attention of a token over the first tokens in f16 (sinks), tiles of 16 tokens,
// and the newest tokens in f16. A token sees a tile as sealed or as rows by its own position alone
// (kv_sealed_before), and its keys come in ascending order, as in attention. With summaries it
// leaves out pages of tiles (quant/kv_sparse.h).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "backends/reference/kernels/kernels.h"
#include "backends/reference/kernels/kv_tiles.h"
#include "backends/reference/kernels/row_math.h"
#include "backends/reference/kernels/running.h"
#include "quant/half.h"

namespace runnel::reference::kernels {
namespace {

constexpr std::int64_t kTile = quant::kKvTileTokens;

/// Decodes tile `first` / 16 of a head: x [16, dh].
void read_tile(const StateBinding& pages,
               const Operand& state,
               quant::KvRole role,
               std::int64_t first,
               std::int64_t head,
               float* x) {
  const std::int64_t dh = state.cols();
  const int index = static_cast<int>(first % kPageTokens / kTile);
  float part_of_tile[kTile * quant::kKvChannels];
  for (std::int64_t part = 0; part < dh / quant::kKvChannels; ++part) {
    std::byte* block = kv_block(pages, state, first, head, part);
    quant::kv_codec(state.kv).decode_tile(role, quant::kv_tile_codes(state.kv, block, index),
                                          quant::kv_tile_scales(state.kv, block, index),
                                          part_of_tile);
    for (std::int64_t t = 0; t < kTile; ++t)
      std::copy_n(part_of_tile + t * quant::kKvChannels, quant::kKvChannels,
                  x + t * dh + part * quant::kKvChannels);
  }
}

/// What each token of the step sees of the pages, for one KV head.
class SeenPages {
 public:
  /// Memory, in floats, for steps of n_tokens.
  static std::int64_t floats(const AttentionAttr& attr, std::int64_t n_tokens) {
    return attr.sparse.pages * (n_tokens * (attr.n_heads / attr.n_kv_heads) + 1) + n_tokens;
  }
  SeenPages(const Step& step, const StepContext& context, float* scratch)
      : step_(step),
        context_(context),
        attr_(step.attr_as<AttentionAttr>()),
        group_(attr_.n_heads / attr_.n_kv_heads),
        bounds_(scratch),
        pages_(reinterpret_cast<std::int32_t*>(scratch + attr_.sparse.pages)),
        counts_(pages_ + context.params.n_tokens * group_ * attr_.sparse.pages) {}

  /// ERRORS: invalid_argument (a page of summaries is missing).
  Status choose(std::int64_t head) {
    if (attr_.tiles.streams(head)) return {};
    for (std::int64_t t = 0; t < context_.params.n_tokens; ++t) {
      if (!sparse(t)) continue;
      RUNNEL_TRY(check_pages(context_.state(step_.in[6]), 0, local(t) * kPageTokens));
      std::int32_t n = 0;
      for (std::int64_t h = head * group_; h < (head + 1) * group_; ++h) n += rank(t, h, n);
      counts_[t] = quant::unite_pages({list(t), static_cast<std::size_t>(n)});
    }
    return {};
  }
  bool sees(std::int64_t t, std::int64_t page) const {
    if (page == 0 || !sparse(t) || page >= local(t)) return true;
    return std::binary_search(list(t), list(t) + counts_[t], static_cast<std::int32_t>(page));
  }

 private:
  std::int64_t place(std::int64_t t) const { return context_.params.kv_pos() + t; }
  std::int64_t local(std::int64_t t) const {
    return quant::kv_local_page(place(t), attr_.tiles.recent);
  }
  bool sparse(std::int64_t t) const {
    return attr_.sparse.pages > 0 && place(t) + 1 >= attr_.sparse.from;
  }
  std::int32_t* list(std::int64_t t) const { return pages_ + t * group_ * attr_.sparse.pages; }

  /// Appends the pages of query head h to the n that token t has; returns how many.
  std::int32_t rank(std::int64_t t, std::int64_t h, std::int32_t n) {
    const std::int64_t dh = attr_.head_dim;
    const Operand& summaries = step_.in[6];
    const float* q = step_.in[0].row(t) + h * dh;
    const float reach = quant::kKvRadiusShare * std::sqrt(dot(q, q, dh));
    quant::BestPages best{bounds_, list(t) + n, attr_.sparse.pages};
    for (std::int64_t page = 1; page < local(t); ++page) {
      const std::byte* row = context_.state(summaries).host_pages[static_cast<std::size_t>(page)] +
                             attr_.tiles.page_head(h / group_) * summaries.row_bytes();
      float bound = 0;
      for (std::int64_t c = 0; c < dh; ++c) bound += q[c] * half_at(row, c);
      best.offer(bound + reach * half_at(row, dh), static_cast<std::int32_t>(page));
    }
    return best.n;
  }
  static float half_at(const std::byte* row, std::int64_t i) {
    std::uint16_t half;
    std::memcpy(&half, row + i * std::int64_t{sizeof(half)}, sizeof(half));
    return quant::f16_to_f32(half);
  }

  const Step& step_;
  const StepContext& context_;
  const AttentionAttr& attr_;
  std::int64_t group_;
  float* bounds_;         // [pages]
  std::int32_t* pages_;   // [n_tokens, group * pages]
  std::int32_t* counts_;  // [n_tokens]
};

/// The keys of one tile, as a tile or as rows, for the tokens of the step that see them that way.
struct Keys {
  const float *k, *v;  // [16, dh]
  std::int64_t first;  // position of the first
  bool sealed;
};

void add_keys(const Step& step,
              const StepContext& context,
              const Keys& keys,
              const SeenPages& seen,
              std::int64_t head,
              Running* running) {
  const auto& attr = step.attr_as<AttentionAttr>();
  const Operand &q = step.in[0], &out = step.out[0];
  const std::int64_t dh = attr.head_dim, group = attr.n_heads / attr.n_kv_heads;
  for (std::int64_t t = 0; t < context.params.n_tokens; ++t) {
    const std::int64_t position = context.params.kv_pos() + t;
    const bool sealed = keys.first >= attr.tiles.sinks &&
                        keys.first < quant::kv_sealed_before(position, attr.tiles.recent);
    if (sealed != keys.sealed) continue;
    if (sealed && !seen.sees(t, keys.first / kPageTokens)) continue;
    const std::int64_t n = std::min(kTile, position + 1 - keys.first);
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t h = head * group; h < (head + 1) * group; ++h)
        add_key(running[t * attr.n_heads + h], out.row(t) + h * dh,
                attr.scale * dot(q.row(t) + h * dh, keys.k + i * dh, dh), keys.v + i * dh, dh);
  }
}

}  // namespace

std::int64_t tile_attention_scratch(const Graph& graph, const Node& node) {
  const AttentionAttr* attr = std::get_if<AttentionAttr>(&node.attr);
  if (attr == nullptr) return 0;
  return 2 * (kTile * attr->head_dim + graph.max_tokens() * attr->n_heads) +
         SeenPages::floats(*attr, graph.max_tokens());
}

Status tile_attention(const Step& step, const StepContext& context) {
  const Operand &k_state = step.in[3], &v_state = step.in[4], &window = step.in[5];
  const Operand& out = step.out[0];
  const auto& attr = step.attr_as<AttentionAttr>();
  const std::int64_t pos = context.params.kv_pos(), n_tokens = context.params.n_tokens;
  const std::int64_t end = pos + n_tokens, dh = attr.head_dim;
  const std::int64_t sealed_end = quant::kv_sealed_before(end - 1, attr.tiles.recent);
  const std::int64_t rows_from = quant::kv_sealed_before(pos, attr.tiles.recent);
  const StateBinding &k_pages = context.state(k_state), &v_pages = context.state(v_state);
  if (sealed_end > 0) {
    RUNNEL_TRY(check_pages(k_pages, 0, sealed_end));
    RUNNEL_TRY(check_pages(v_pages, 0, sealed_end));
  }
  RUNNEL_ASSIGN(const KvRows k_rows, kv_rows(context, step.in[1], window, attr.tiles.sinks, 0));
  RUNNEL_ASSIGN(const KvRows v_rows, kv_rows(context, step.in[2], window, attr.tiles.sinks, 1));

  float *k = context.scratch, *v = context.scratch + kTile * dh;
  auto* running = reinterpret_cast<Running*>(context.scratch + 2 * kTile * dh);
  std::fill_n(running, n_tokens * attr.n_heads,
              Running{-std::numeric_limits<float>::infinity(), 0});
  std::fill_n(out.row(0), n_tokens * out.cols(), 0.0f);
  SeenPages seen(step, context, context.scratch + 2 * (kTile * dh + n_tokens * attr.n_heads));
  for (std::int64_t g = 0; g < attr.n_kv_heads; ++g) {
    RUNNEL_TRY(seen.choose(g));
    for (std::int64_t first = 0; first < end; first += kTile) {
      if (!attr.tiles.streams(g) && first >= attr.tiles.sinks && first < sealed_end) {
        const std::int64_t at = attr.tiles.page_head(g);
        read_tile(k_pages, k_state, quant::KvRole::k, first, at, k);
        read_tile(v_pages, v_state, quant::KvRole::v, first, at, v);
        add_keys(step, context, {k, v, first, true}, seen, g, running);
      }
      if (first >= attr.tiles.sinks && first < rows_from) continue;
      for (std::int64_t i = 0; i < std::min(kTile, end - first); ++i) {
        k_rows.read(first + i, g, k + i * dh);
        v_rows.read(first + i, g, v + i * dh);
      }
      add_keys(step, context, {k, v, first, false}, seen, g, running);
    }
  }
  for (std::int64_t t = 0; t < n_tokens; ++t)
    for (std::int64_t c = 0; c < attr.n_heads * dh; ++c)
      out.row(t)[c] /= running[t * attr.n_heads + c / dh].sum;
  return {};
}

}  // namespace runnel::reference::kernels
