#include "runtime/session/cost.h"

#include <algorithm>

namespace runnel {
namespace {

bool is_product(Op op) {
  return op == Op::matmul || op == Op::matmul_swiglu || op == Op::moe_matmul;
}

double bytes_of(DType dtype, double elems) {
  const quant::DTypeInfo& type = quant::info(dtype);
  return elems * type.block_bytes / type.block_elems;
}

/// Rows of a table, or experts, that a step of n_tokens reads, of those there are.
double used_share(const Graph& graph, const Node& node, const Value& weight, StepSize size) {
  if (node.op != Op::embed && node.op != Op::moe_matmul) return 1;
  const auto read =
      static_cast<double>(graph.rows_in_step(graph.value(node.out[0]), size.n_tokens));
  return std::min(1.0, read / static_cast<double>(weight.shape[0]));
}

double kv_bytes(const Graph& graph, const Node& node, StepSize size) {
  const AttentionAttr* attr = std::get_if<AttentionAttr>(&node.attr);
  if (attr == nullptr) return 0;
  std::int64_t keys = size.n_keys;
  if (attr->window > 0) keys = std::min<std::int64_t>(keys, attr->window);
  const double values = static_cast<double>(keys) * attr->n_kv_heads * attr->head_dim;
  if (node.op == Op::attention) return bytes_of(graph.value(node.in[1]).dtype, 2.0 * values);
  double bytes = 0;  // as if all keys were in tiles
  for (std::size_t state = 3; state < 5; ++state)
    bytes += values * static_cast<double>(quant::kv_block_bytes(graph.value(node.in[state]).kv)) /
             (quant::kKvBlockTokens * quant::kKvChannels);
  return bytes;
}

}  // namespace

NodeCost node_cost(const Graph& graph, const Node& node, StepSize size) {
  NodeCost cost;
  cost.kv_bytes = kv_bytes(graph, node, size);
  for (const ValueId id : node.in) {
    const Value& weight = graph.value(id);
    if (weight.role != Role::weight) continue;
    cost.weight_bytes += bytes_of(weight.dtype, static_cast<double>(weight.shape.elems())) *
                         used_share(graph, node, weight, size);
    if (!is_product(node.op) || weight.shape.rank < 2) continue;  // rank 1: a bias
    const Value& out = graph.value(node.out[0]);
    cost.operations += 2.0 * static_cast<double>(graph.rows_in_step(out, size.n_tokens)) *
                       static_cast<double>(out.shape.cols() * weight.shape.cols());
  }
  return cost;
}

StepCost step_cost(const Graph& graph, StepSize size) {
  StepCost total;
  for (const Node& node : graph.nodes()) {
    const NodeCost cost = node_cost(graph, node, size);
    total.kv_bytes += cost.kv_bytes;
    if (!is_product(node.op)) continue;
    const DType dtype = graph.value(node.in[1]).dtype;
    if (dtype == DType::bf16)
      total.bf16_ops += cost.operations;
    else if (dtype == DType::f32 || dtype == DType::f16)
      total.f32_ops += cost.operations;
    else
      total.int8_ops += cost.operations;
  }
  return total;
}

}  // namespace runnel
