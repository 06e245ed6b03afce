// tile_attention: attention of a token over the first tokens in f16 (sinks), tiles of 16 tokens,
// and the newest tokens in f16. A token sees a tile as sealed or as rows by its own position alone
// (kv_sealed_before), and its keys come in ascending order, as in attention.
#include <limits>

#include "backends/reference/kernels/kernels.h"
#include "backends/reference/kernels/kv_tiles.h"
#include "backends/reference/kernels/row_math.h"
#include "backends/reference/kernels/running.h"

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

/// The keys of one tile, as a tile or as rows, for the tokens of the step that see them that way.
struct Keys {
  const float *k, *v;  // [16, dh]
  std::int64_t first;  // position of the first
  bool sealed;
};

void add_keys(const Step& step,
              const StepContext& context,
              const Keys& keys,
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
  return attr ? 2 * (kTile * attr->head_dim + graph.max_tokens() * attr->n_heads) : 0;
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
  for (std::int64_t g = 0; g < attr.n_kv_heads; ++g)
    for (std::int64_t first = 0; first < end; first += kTile) {
      if (first >= attr.tiles.sinks && first < sealed_end) {
        read_tile(k_pages, k_state, quant::KvRole::k, first, g, k);
        read_tile(v_pages, v_state, quant::KvRole::v, first, g, v);
        add_keys(step, context, {k, v, first, true}, g, running);
      }
      if (first >= attr.tiles.sinks && first < rows_from) continue;
      for (std::int64_t i = 0; i < std::min(kTile, end - first); ++i) {
        k_rows.read(first + i, g, k + i * dh);
        v_rows.read(first + i, g, v + i * dh);
      }
      add_keys(step, context, {k, v, first, false}, g, running);
    }
  for (std::int64_t t = 0; t < n_tokens; ++t)
    for (std::int64_t c = 0; c < attr.n_heads * dh; ++c)
      out.row(t)[c] /= running[t * attr.n_heads + c / dh].sum;
  return {};
}

}  // namespace runnel::reference::kernels
