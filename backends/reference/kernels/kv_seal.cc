// kv_seal: encodes 16 tokens at a time, from their f16 rows alone, as soon as the step's last token
// sees them as a tile. kv_summary: of each page but the first, when its last tile has been sealed.
// kv_window: keeps the newest rows of the step, and the first ones as sinks.
#include "backends/reference/kernels/kernels.h"
#include "backends/reference/kernels/kv_tiles.h"

namespace runnel::reference::kernels {
namespace {

constexpr std::int64_t kTile = quant::kKvTileTokens;

void seal(const KvRows& rows,
          const StateBinding& pages,
          const Operand& state,
          const KvWindowAttr& attr,
          std::int64_t first,
          float* scratch) {
  const std::int64_t dh = rows.head_dim();
  float *row = scratch, *tile = scratch + dh;
  const int index = static_cast<int>(first % kPageTokens / kTile);
  for (std::int64_t head = 0; head < state.shape[0]; ++head)
    for (std::int64_t part = 0; part < dh / quant::kKvChannels; ++part) {
      for (std::int64_t t = 0; t < kTile; ++t) {
        rows.read(first + t, attr.head_at(head), row);
        std::copy_n(row + part * quant::kKvChannels, quant::kKvChannels,
                    tile + t * quant::kKvChannels);
      }
      std::byte* block = kv_block(pages, state, first, head, part);
      quant::kv_codec(state.kv).encode_tile(rows.half == 0 ? quant::KvRole::k : quant::KvRole::v,
                                            tile, quant::kv_tile_codes(state.kv, block, index),
                                            quant::kv_tile_scales(state.kv, block, index));
    }
}

}  // namespace

std::int64_t kv_seal_scratch(const Graph& graph, const Node& node) {
  return graph.value(node.in[4]).shape[2] + kTile * quant::kKvChannels;
}

Status kv_seal(const Step& step, const StepContext& context) {
  const auto& attr = step.attr_as<KvWindowAttr>();
  const std::int64_t last = context.params.kv_pos() + context.params.n_tokens - 1;
  const std::int64_t end = quant::kv_sealed_before(last, attr.recent);
  const std::int64_t first =
      std::max<std::int64_t>(context.params.kv_sealed - context.params.kv_gap, attr.sinks);
  for (std::size_t half = 0; half < 2; ++half) {
    const Operand& state = step.in[2 + half];
    const StateBinding& pages = context.state(state);
    RUNNEL_ASSIGN(const KvRows rows, kv_rows(context, step.in[half], step.in[4], attr.sinks,
                                             static_cast<std::int64_t>(half)));
    if (first < end) RUNNEL_TRY(check_pages(pages, first, end));
    for (std::int64_t at = first; at < end; at += kTile)
      seal(rows, pages, state, attr, at, context.scratch);
  }
  return {};
}

Status kv_summary(const Step& step, const StepContext& context) {
  const Operand &state = step.in[0], &summaries = step.in[1];
  const std::int64_t last = context.params.kv_pos() + context.params.n_tokens - 1;
  const std::int64_t end =
      quant::kv_sealed_before(last, step.attr_as<KvWindowAttr>().recent) / kPageTokens;
  const std::int64_t first =
      std::max(0, context.params.kv_sealed - context.params.kv_gap) / kPageTokens;
  const StateBinding &pages = context.state(state), &rows = context.state(summaries);
  if (first < end) {
    RUNNEL_TRY(check_pages(pages, first * kPageTokens, end * kPageTokens));
    RUNNEL_TRY(check_pages(rows, first * kPageTokens, end * kPageTokens));
  }
  for (std::int64_t page = std::max<std::int64_t>(first, 1); page < end; ++page)
    for (std::int64_t head = 0; head < state.shape[0]; ++head)
      quant::kv_summarise(
          state.kv, kv_block(pages, state, page * kPageTokens, head, 0), state.cols(),
          rows.host_pages[static_cast<std::size_t>(page)] + head * summaries.row_bytes());
  return {};
}

Status kv_window(const Step& step, const StepContext& context) {
  const auto& attr = step.attr_as<KvWindowAttr>();
  const std::int64_t pos = context.params.kv_pos(), end = pos + context.params.n_tokens;
  const std::int64_t ring = step.in[2].shape[1] - quant::kKvSinkTokens;
  for (std::size_t half = 0; half < 2; ++half) {
    RUNNEL_ASSIGN(const KvRows rows, kv_rows(context, step.in[half], step.in[2], attr.sinks,
                                             static_cast<std::int64_t>(half)));
    const std::int64_t dh = rows.head_dim(), n_heads = step.in[2].shape[0] / 2;
    for (std::int64_t position = rows.split; position < end; ++position) {
      if (position >= attr.sinks && position < end - ring) continue;  // overwritten by later ones
      for (std::int64_t head = 0; head < n_heads; ++head)
        quant::codec(DType::f16)
            .encode_row(step.in[half].row(position - pos) + head * dh, nullptr,
                        rows.slot(position, head), dh);
    }
  }
  return {};
}

}  // namespace runnel::reference::kernels
