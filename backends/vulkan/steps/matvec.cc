// Products of few rows with any weights. Steps of more than one token take eight rows at a time.
#include "backends/vulkan/steps/operands.h"
#include "backends/vulkan/steps/steps.h"

namespace runnel::vulkan::steps {
namespace {

struct Tuning {
  std::uint32_t threads, rows;
};

/// Threads of a workgroup and rows of W per workgroup: a row should keep every thread busy.
Tuning tune(const WeightLayout& layout, bool pair) {
  // As matvec_row, whose order of additions it has on subgroups of 32.
  (void)layout;
  return {32, pair ? 1u : 2u};
}

Result<Step> product(const Graph& graph, const Node& node, Bindings bindings, const char* reduce) {
  const bool pair = node.op == Op::matmul_swiglu, moe = node.op == Op::moe_matmul;
  const Value &x = graph.value(node.in[0]), &w = graph.value(node.in[1]);
  const WeightLayout layout = weight_layout(w);
  const Value& rows_like = moe ? graph.value(node.out[0]) : x;
  const Rows rows = rows_of(graph, rows_like);
  const bool one_row = moe || (rows.per_token == 0 ? rows.fixed == 1 : graph.max_tokens() == 1);
  const std::uint32_t n_tokens = one_row ? 1 : 8;
  const Tuning tuning = tune(layout, pair);
  const std::int64_t n = w.shape[w.shape.rank - 2];
  Dispatch d;
  d.shader = "matvec." + std::string(layout.format->shader) +
             (pair  ? ".swiglu."
              : moe ? ".moe."
                    : ".none.") +
             reduce;
  d.constants = {tuning.threads, tuning.rows, n_tokens};
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
  d.grid = {groups(n, tuning.rows), extent(rows, 1, n_tokens), Extent{}};
  return Step{{std::move(d)}};
}

/// One row: a fixed number of them, or one token.
bool has_one_row(const Graph& graph, const Value& x) {
  return x.per_token ? graph.max_tokens() == 1 && x.shape[0] == 1 : x.shape[0] == 1;
}

}  // namespace

bool is_row_product(const Graph& graph, const Node& node) {
  if (node.op != Op::matmul && node.op != Op::matmul_swiglu) return false;
  return has_one_row(graph, graph.value(node.in[0])) &&
         graph.value(node.in[1]).shape.cols() % 32 == 0;
}

Result<Step> matvec_row(const Graph& graph, const Node& node, Bindings bindings) {
  return row_product(graph, node, bindings, {node.in[0], node.out[0], kNoValue, kNoValue, 0});
}

Result<Step> row_product(const Graph& graph,
                         const Node& node,
                         Bindings bindings,
                         const RowProduct& product) {
  const bool pair = node.op == Op::matmul_swiglu;
  const Value& w = graph.value(node.in[1]);
  const WeightLayout layout = weight_layout(w);
  const std::int64_t n = w.shape[0];
  const bool biased = !pair && node.in.size() > 2;
  // Many rows: more of them per subgroup share what is read of x. Few: more subgroups at work.
  const std::uint32_t rows = n >= 16384 ? 4 : n >= 4096 && !pair ? 2 : pair ? 2 : 1;
  const std::uint32_t threads = n >= 16384 ? 256 : 128;
  Dispatch d;
  d.shader = "matvec_row." + std::string(layout.format->shader) + (pair ? ".swiglu" : ".none");
  d.constants = {threads, rows};
  d.push = weight_push(layout);
  d.push.insert(d.push.end(), {u32(n), biased, product.residual != kNoValue,
                               product.norm != kNoValue, bits(product.eps)});
  const auto or_x = [&](ValueId id) { return read(bindings, id == kNoValue ? product.x : id); };
  d.operands = {read(bindings, node.in[1])};
  if (pair) d.operands.push_back(read(bindings, node.in[2]));
  d.operands.insert(d.operands.end(), {read(bindings, product.x), write(bindings, product.out),
                                       or_x(biased ? node.in[2] : kNoValue), or_x(product.residual),
                                       or_x(product.norm)});
  constexpr std::uint32_t kUsualSubgroup = 32;  // others go round more often, or not at all
  d.grid = {groups(n, rows * threads / kUsualSubgroup), Extent{}, Extent{}};
  return Step{{std::move(d)}};
}

Result<Step> matvec(const Graph& graph, const Node& node, Bindings bindings) {
  return product(graph, node, bindings, "shared");
}
Result<Step> matvec_subgroup(const Graph& graph, const Node& node, Bindings bindings) {
  return product(graph, node, bindings, "subgroup");
}

}  // namespace runnel::vulkan::steps
