// Attention over pages of rows or of tiles. Steps of few tokens cut the keys into spans, so that
// one token keeps a whole GPU busy, and add the spans up afterwards.
#include "backends/vulkan/steps/operands.h"
#include "backends/vulkan/steps/steps.h"
#include "runtime/base/checked.h"

namespace runnel::vulkan::steps {
namespace {

constexpr std::uint32_t kThreads = 64, kAttentionThreads = 128;
constexpr std::int64_t kFewTokens = 8;  // up to here the keys are cut into spans

std::uint32_t state_index(const Graph& graph, ValueId id) {
  return u32(graph.value(id).state_index);
}

std::uint32_t low_word(std::uint64_t x) {
  return static_cast<std::uint32_t>(x);
}
std::uint32_t high_word(std::uint64_t x) {
  return static_cast<std::uint32_t>(x >> 32);
}

/// Adds the dispatch that adds the spans up; grids and scratch of both.
Step with_spans(const Graph& graph, const Node& node, Bindings bindings, Dispatch d) {
  const auto& attr = attr_of<AttentionAttr>(node);
  Step step;
  const bool split = graph.max_tokens() <= kFewTokens;
  const std::uint32_t n_parts = split ? u32(kMaxSpans) : 1;
  d.push.push_back(n_parts);
  d.push.push_back(bits(attr.scale));
  d.grid = {split ? Extent{1, 0, 1, true} : Extent{}, Extent{u32(attr.n_heads)}, Extent{0, 1, 1}};
  if (!split) {
    d.operands.push_back(d.operands[0]);  // for the partial results: bound, not touched
    step.dispatches = {std::move(d)};
    return step;
  }
  const auto floats = graph.max_tokens() * attr.n_heads * kMaxSpans * (attr.head_dim + 2);
  step.scratch_bytes = static_cast<std::size_t>(floats) * sizeof(float);
  d.operands.push_back(scratch(0, step.scratch_bytes, Access::write));
  Dispatch merge;
  merge.shader = "attention_merge.keys";
  merge.constants = {kThreads};
  merge.push = {u32(attr.n_heads), u32(attr.head_dim), n_parts};
  merge.operands = {scratch(0, step.scratch_bytes, Access::read), write(bindings, node.out[0])};
  merge.grid = {Extent{u32(attr.n_heads)}, Extent{0, 1, 1}, Extent{}};
  step.dispatches = {std::move(d), std::move(merge)};
  return step;
}

}  // namespace

Result<Step> kv_append(const Graph& graph, const Node& node, Bindings bindings) {
  const Value& page = graph.value(node.in[2]);
  const std::int64_t cols = page.shape[0] * page.shape[2];
  const bool wide = page.dtype == DType::f32;
  const bool odd = !wide && page.shape[2] % 2 != 0;
  Dispatch d;
  d.shader = wide ? "kv_append.f32" : "kv_append.f16";
  d.constants = {kThreads};
  d.push = {u32(page.shape[0]), u32(page.shape[2]), state_index(graph, node.in[2]),
            state_index(graph, node.in[3])};
  d.operands = {read(bindings, node.in[0]), read(bindings, node.in[1])};
  d.states = {{page.state_index, Access::write},
              {graph.value(node.in[3]).state_index, Access::write}};
  const std::int64_t items = odd ? page.shape[0] : wide ? cols : cols / 2;
  d.grid = {groups(items, kThreads), odd ? Extent{} : Extent{0, 1, 1}, Extent{2}};
  Step step{{std::move(d)}};
  step.recent = Step::kAllPages;
  return step;
}

Result<Step> attention(const Graph& graph, const Node& node, Bindings bindings) {
  const auto& attr = attr_of<AttentionAttr>(node);
  const Value& page = graph.value(node.in[1]);
  Dispatch d;
  d.shader = page.dtype == DType::f32 ? "attention.f32" : "attention.f16";
  d.constants = {kAttentionThreads};
  d.push = {u32(attr.n_heads),
            u32(attr.n_heads / attr.n_kv_heads),
            u32(attr.head_dim),
            state_index(graph, node.in[1]),
            state_index(graph, node.in[2]),
            u32(attr.window)};
  d.operands = {read(bindings, node.in[0]), write(bindings, node.out[0])};
  d.states = {{page.state_index, Access::read},
              {graph.value(node.in[2]).state_index, Access::read}};
  Step step = with_spans(graph, node, bindings, std::move(d));
  step.recent = Step::kAllPages;
  return step;
}

Result<Step> attention_row(const Graph& graph, const Node& node, Bindings bindings) {
  const auto& attr = attr_of<AttentionAttr>(node);
  RUNNEL_ASSIGN(Step step, attention(graph, node, bindings));
  Dispatch& d = step.dispatches.front();
  d.shader = "attention_row.f16." + std::to_string(attr.head_dim);
  d.constants = {128, u32(attr.n_heads / attr.n_kv_heads)};
  d.grid[1] = Extent{u32(attr.n_kv_heads)};
  return step;
}

bool is_long_step(const Graph& graph) {
  return graph.max_tokens() > kFewTokens;
}

namespace {
/// A workgroup has `rows` rows: tokens times the query heads of a KV head.
Step attention_of_rows(
    const Graph& graph, const Node& node, Bindings bindings, const char* shader, int rows) {
  const auto& attr = attr_of<AttentionAttr>(node);
  const std::uint32_t group = u32(attr.n_heads / attr.n_kv_heads);
  const std::int32_t k = graph.value(node.in[1]).state_index;
  const std::int32_t v = graph.value(node.in[2]).state_index;
  Dispatch d;
  d.shader = shader + std::to_string(attr.head_dim);
  d.push = {u32(attr.n_heads), group,           u32(attr.head_dim), u32(k), u32(v),
            u32(attr.window),  bits(attr.scale)};
  d.operands = {read(bindings, node.in[0]), write(bindings, node.out[0])};
  d.states = {{k, Access::read}, {v, Access::read}};
  d.grid = {Extent{0, 1, u32(rows) / group}, Extent{u32(attr.n_kv_heads)}, Extent{}};
  Step step{{std::move(d)}};
  step.recent = Step::kAllPages;
  return step;
}
}  // namespace

Result<Step> attention_tile(const Graph& graph, const Node& node, Bindings bindings) {
  return attention_of_rows(graph, node, bindings, "attention_tile.f16.", 16);
}

Result<Step> attention_matrix(const Graph& graph, const Node& node, Bindings bindings) {
  return attention_of_rows(graph, node, bindings, "attention_matrix.", 64);
}

Result<Step> kv_seal(const Graph& graph, const Node& node, Bindings bindings) {
  const auto& attr = attr_of<KvWindowAttr>(node);
  const Value& window = graph.value(node.in[4]);
  Step step;
  step.recent = attr.recent;
  for (std::size_t half = 0; half < 2; ++half) {
    const Value& page = graph.value(node.in[2 + half]);
    Dispatch d;
    d.shader = half == 0 ? "kv_seal.k" : "kv_seal.v";
    d.constants = {16, u32(quant::info(page.kv).bits)};
    d.push = {u32(window.shape[0] / 2), u32(page.shape[2]),       u32(window.shape[1]),
              u32(attr.sinks),          u32(attr.recent),         u32(window.state_index),
              u32(page.state_index),    low_word(attr.streaming), high_word(attr.streaming)};
    d.operands = {read(bindings, node.in[half])};
    d.states = {{page.state_index, Access::write}, {window.state_index, Access::read}};
    d.grid = {Extent{16, 1, 16}, Extent{u32(page.shape[0] * page.shape[2] / quant::kKvChannels)},
              Extent{}};
    step.dispatches.push_back(std::move(d));
  }
  return step;
}

Result<Step> kv_window(const Graph& graph, const Node& node, Bindings bindings) {
  const auto& attr = attr_of<KvWindowAttr>(node);
  const Value& window = graph.value(node.in[2]);
  const std::int64_t heads = window.shape[0] / 2;
  Dispatch d;
  d.shader = "kv_window.f16";
  d.constants = {kThreads};
  d.push = {u32(heads),      u32(window.shape[2]), u32(window.shape[1]),
            u32(attr.sinks), u32(attr.recent),     u32(window.state_index)};
  d.operands = {read(bindings, node.in[0]), read(bindings, node.in[1])};
  d.states = {{window.state_index, Access::write}};
  d.grid = {groups(heads * window.shape[2] / 2, kThreads), Extent{0, 1, 1}, Extent{2}};
  return Step{{std::move(d)}};
}

Result<Step> kv_summary(const Graph& graph, const Node& node, Bindings) {
  const Value &keys = graph.value(node.in[0]), &summaries = graph.value(node.in[1]);
  const auto& attr = attr_of<KvWindowAttr>(node);
  Dispatch d;
  d.shader = "kv_summary.keys";
  d.constants = {64, u32(quant::info(keys.kv).bits)};
  d.push = {u32(keys.shape[2]), u32(attr.recent), u32(keys.state_index),
            u32(summaries.state_index)};
  d.states = {{keys.state_index, Access::read}, {summaries.state_index, Access::write}};
  d.grid = {Extent{u32(kPageTokens), 1, u32(kPageTokens)}, Extent{u32(keys.shape[0])}, Extent{}};
  Step step{{std::move(d)}};
  step.recent = attr.recent;
  return step;
}

std::size_t page_lists_bytes(const Graph& graph, const AttentionAttr& attr) {
  return static_cast<std::size_t>(graph.max_tokens() * attr.n_heads * attr.sparse.pages) *
         sizeof(std::uint32_t);
}

namespace {
/// Which pages each query head of each token reads: into `lists`.
Dispatch page_choice(const Graph& graph, const Node& node, Bindings bindings, Operand lists) {
  const auto& attr = attr_of<AttentionAttr>(node);
  const std::int32_t summaries = graph.value(node.in[6]).state_index;
  lists.access = Access::write;
  Dispatch d;
  d.shader = "page_choice.best";
  d.constants = {kAttentionThreads, u32(attr.sparse.pages)};
  d.push = {u32(attr.n_heads),
            u32(attr.n_kv_heads),
            u32(attr.head_dim),
            u32(attr.tiles.recent),
            u32(summaries),
            u32(attr.sparse.from),
            low_word(attr.tiles.streaming),
            high_word(attr.tiles.streaming)};
  d.operands = {read(bindings, node.in[0]), std::move(lists)};
  d.states = {{summaries, Access::read}};
  d.grid = {Extent{u32(attr.n_heads)}, Extent{0, 1, 1}, Extent{}};
  return d;
}
}  // namespace

Result<Step> tile_attention(const Graph& graph, const Node& node, Bindings bindings) {
  const auto& attr = attr_of<AttentionAttr>(node);
  const Value &k = graph.value(node.in[3]), &v = graph.value(node.in[4]);
  const Value& window = graph.value(node.in[5]);
  Dispatch d;
  d.shader = "tile_attention.any";
  d.constants = {kAttentionThreads, u32(quant::info(k.kv).bits), u32(quant::info(v.kv).bits),
                 u32(attr.sparse.pages)};
  d.push = {u32(attr.n_kv_heads),
            u32(attr.head_dim),
            u32(window.shape[1]),
            u32(attr.tiles.sinks),
            u32(attr.tiles.recent),
            u32(window.state_index),
            u32(k.state_index),
            u32(v.state_index),
            u32(attr.n_heads),
            low_word(attr.tiles.streaming),
            high_word(attr.tiles.streaming),
            u32(attr.sparse.from)};
  d.operands = {read(bindings, node.in[0]), read(bindings, node.in[1]), read(bindings, node.in[2]),
                write(bindings, node.out[0])};
  d.states = {{k.state_index, Access::read},
              {v.state_index, Access::read},
              {window.state_index, Access::read}};
  Step step = with_spans(graph, node, bindings, std::move(d));
  step.recent = attr.tiles.recent;
  std::vector<Operand>& operands = step.dispatches.front().operands;
  if (attr.sparse.pages == 0) {
    operands.push_back(operands[0]);  // for the lists: bound, not touched
    return step;
  }
  const std::size_t at = align_up(step.scratch_bytes, 256), bytes = page_lists_bytes(graph, attr);
  step.scratch_bytes = at + bytes;
  operands.push_back(scratch(at, bytes, Access::read));
  step.dispatches.insert(step.dispatches.begin(),
                         page_choice(graph, node, bindings, operands.back()));
  return step;
}

}  // namespace runnel::vulkan::steps
