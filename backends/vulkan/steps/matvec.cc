// Products of few rows with any weights. Steps of more than one token take eight rows at a time.
#include "backends/vulkan/steps/operands.h"
#include "backends/vulkan/steps/steps.h"

namespace runnel::vulkan::steps {
namespace {

Result<Step> product(const Graph& graph, const Node& node, Bindings bindings, const char* reduce) {
  const bool pair = node.op == Op::matmul_swiglu, moe = node.op == Op::moe_matmul;
  const Value &x = graph.value(node.in[0]), &w = graph.value(node.in[1]);
  const WeightLayout layout = weight_layout(w);
  const Value& rows_like = moe ? graph.value(node.out[0]) : x;
  const Rows rows = rows_of(graph, rows_like);
  const bool one_row = moe || (rows.per_token == 0 ? rows.fixed == 1 : graph.max_tokens() == 1);
  const std::uint32_t n_tokens = one_row ? 1 : 8;
  // A subgroup of 32 adds up in the order of matvec_row.
  const std::uint32_t threads = 32, rows_of_w = pair ? 1 : 2;
  const std::int64_t n = w.shape[w.shape.rank - 2];
  Dispatch d;
  d.shader = "matvec." + std::string(layout.format->shader) +
             (pair  ? ".swiglu."
              : moe ? ".moe."
                    : ".none.") +
             reduce;
  d.constants = {threads, rows_of_w, n_tokens};
  d.push = weight_push(layout);
  const bool biased = node.op == Op::matmul && node.in.size() > 2;
  const std::int64_t per_x =
      moe && x.shape[0] == graph.value(node.in[2]).shape[0] ? graph.value(node.in[2]).shape[1] : 1;
  d.push.insert(d.push.end(), {u32(n), u32(layout.cols), rows.fixed, rows.per_token, biased,
                               moe ? u32(w.shape[0]) : 1, u32(per_x)});
  d.operands = {read(bindings, node.in[1])};
  if (pair) d.operands.push_back(read(bindings, node.in[2]));
  d.operands.push_back(read(bindings, node.in[0]));
  d.operands.push_back(write(bindings, node.out[0]));
  d.operands.push_back(read(bindings, moe || biased ? node.in[2] : node.in[1]));
  d.grid = {groups(n, rows_of_w), extent(rows, 1, n_tokens), Extent{}};
  return Step{{std::move(d)}};
}

/// One row: a fixed number of them, or one token.
bool has_one_row(const Graph& graph, const Value& x) {
  return x.per_token ? graph.max_tokens() == 1 && x.shape[0] == 1 : x.shape[0] == 1;
}

/// What both kernels of one row take: weights, row, result; bias, residual and norm weight, or x.
Dispatch row_dispatch(const Graph& graph,
                      const Node& node,
                      Bindings bindings,
                      const RowProduct& product) {
  const bool pair = node.op == Op::matmul_swiglu;
  const Node& last = product.conv != nullptr ? *product.conv : node;
  const std::size_t bias_at = product.conv != nullptr ? 3 : 2;
  const bool biased = !pair && last.in.size() > bias_at;
  const WeightLayout layout = weight_layout(graph.value(node.in[1]));
  Dispatch d;
  d.push = weight_push(layout);
  d.push.insert(d.push.end(),
                {u32(product.conv != nullptr ? layout.rows / 3 : layout.rows), biased,
                 product.residual != kNoValue, product.norm != kNoValue, bits(product.eps)});
  const auto or_x = [&](ValueId id) { return read(bindings, id == kNoValue ? product.x : id); };
  d.operands = {read(bindings, node.in[1])};
  if (pair) d.operands.push_back(read(bindings, node.in[2]));
  d.operands.insert(d.operands.end(), {read(bindings, product.x), write(bindings, product.out),
                                       or_x(biased ? last.in[bias_at] : kNoValue),
                                       or_x(product.residual), or_x(product.norm)});
  if (product.conv != nullptr) {
    const Value &filter = graph.value(last.in[1]), &state = graph.value(last.in[2]);
    d.push.insert(d.push.end(),
                  {u32(filter.shape[1]), u32(state.shape[0]), u32(state.state_index)});
    d.operands.push_back(read(bindings, last.in[1]));
    d.states = {{state.state_index, Access::both}};
  }
  return d;
}

}  // namespace

bool is_row_product(const Graph& graph, const Node& node) {
  if (node.op != Op::matmul && node.op != Op::matmul_swiglu) return false;
  return has_one_row(graph, graph.value(node.in[0])) &&
         graph.value(node.in[1]).shape.cols() % 32 == 0;
}

bool is_dot_product(const Graph& graph, const Node& node) {
  constexpr std::int64_t kMaxCols = 16384;  // a row's bytes and scales fit shared memory
  const Value& w = graph.value(node.in[1]);
  const bool whole = w.dtype == DType::q4_0 || w.dtype == DType::q8_0 || w.dtype == DType::q4_k ||
                     w.dtype == DType::q6_k;
  return is_row_product(graph, node) && whole && w.shape.cols() <= kMaxCols;
}

Result<Step> matvec_row(const Graph& graph, const Node& node, Bindings bindings) {
  return row_product(graph, node, bindings,
                     {node.in[0], node.out[0], kNoValue, kNoValue, 0, nullptr});
}
Result<Step> matvec_dot(const Graph& graph, const Node& node, Bindings bindings) {
  return dot_product(graph, node, bindings,
                     {node.in[0], node.out[0], kNoValue, kNoValue, 0, nullptr});
}

Result<Step> row_product(const Graph& graph,
                         const Node& node,
                         Bindings bindings,
                         const RowProduct& product) {
  const bool pair = node.op == Op::matmul_swiglu;
  const WeightLayout layout = weight_layout(graph.value(node.in[1]));
  // Eight rows a workgroup at a time; more workgroups than fit at once would stage x again.
  constexpr std::uint32_t kThreads = 256, kAtOnce = 528;
  Dispatch d = row_dispatch(graph, node, bindings, product);
  d.shader = "matvec_row." + std::string(layout.format->shader) +
             (product.conv != nullptr ? ".conv"
              : pair                  ? ".swiglu"
                                      : ".none");
  d.constants = {kThreads, 1};
  constexpr std::uint32_t kUsualSubgroup = 32;  // others go round more often, or not at all
  const std::int64_t results = product.conv != nullptr ? layout.rows / 3 : layout.rows;
  d.grid = {groups(results, kThreads / kUsualSubgroup), Extent{}, Extent{}};
  if (layout.rows < 16384) d.grid[0].fixed = std::min(d.grid[0].fixed, kAtOnce);
  return Step{{std::move(d)}};
}

Result<Step> dot_product(const Graph& graph,
                         const Node& node,
                         Bindings bindings,
                         const RowProduct& product) {
  const bool pair = node.op == Op::matmul_swiglu;
  const WeightLayout layout = weight_layout(graph.value(node.in[1]));
  // Measured on one GPU: long rows are shared by four subgroups, many rows by none.
  const std::uint32_t span = layout.groups >= 128 ? 4 : layout.rows >= 4096 ? 1 : 2;
  const std::uint32_t threads = span == 4 ? 512 : 256;
  Dispatch d = row_dispatch(graph, node, bindings, product);
  d.shader = "matvec_dot." + std::string(layout.format->shader) + (pair ? ".swiglu" : ".none");
  std::uint32_t room = 32;  // at least what a known answer needs
  while (room < layout.groups) room *= 2;
  d.constants = {threads, span, room};
  constexpr std::uint32_t kUsualSubgroup = 32;
  const std::uint32_t rows = threads / kUsualSubgroup / span * (pair ? 2 : 4);
  d.grid = {groups(layout.rows, rows), Extent{}, Extent{}};
  return Step{{std::move(d)}};
}

Result<Step> matvec(const Graph& graph, const Node& node, Bindings bindings) {
  return product(graph, node, bindings, "shared");
}
Result<Step> matvec_subgroup(const Graph& graph, const Node& node, Bindings bindings) {
  return product(graph, node, bindings, "subgroup");
}

}  // namespace runnel::vulkan::steps
