#include "runtime/graph/ops.h"

#include <algorithm>
#include <array>

#include "runtime/graph/graph.h"
#include "runtime/graph/infer.h"

namespace runnel {
namespace {

// A node that was inferred once is valid, and so are its parts.
ValueId part(Graph& graph, Op op, std::vector<ValueId> in, const Attr& attr, std::string name) {
  Result<ValueId> made = graph.add_node(op, std::move(in), attr, std::move(name));
  check(made.ok(), "a part of a valid fused node is valid");
  return *made;
}

void part_to(
    Graph& graph, Op op, std::vector<ValueId> in, ValueId out, const Attr& attr, std::string name) {
  const Status status = graph.add_node_to(op, std::move(in), {out}, attr, std::move(name));
  check(status.ok(), "a part of a valid fused node is valid");
}

// Decompositions copy the node first: it may live in the very vector they append to.

void decompose_add_rms_norm(Graph& graph, const Node& fused) {
  const Node n = fused;
  part_to(graph, Op::add, {n.in[0], n.in[1]}, n.out[0], {}, n.name + ".add");
  part_to(graph, Op::rms_norm, {n.out[0], n.in[2]}, n.out[1], n.attr, n.name + ".norm");
}

void decompose_matmul_swiglu(Graph& graph, const Node& fused) {
  const Node n = fused;
  const ValueId gate = part(graph, Op::matmul, {n.in[0], n.in[1]}, {}, n.name + ".gate");
  const ValueId up = part(graph, Op::matmul, {n.in[0], n.in[2]}, {}, n.name + ".up");
  part_to(graph, Op::swiglu, {gate, up}, n.out[0], {}, n.name + ".swiglu");
}

void decompose_rms_norm_rope(Graph& graph, const Node& fused) {
  const Node n = fused;
  const RopeAttr* rope = std::get_if<RopeAttr>(&n.attr);
  check(rope != nullptr, "rms_norm_rope has rope attributes");
  RopeAttr only_rope = *rope;
  only_rope.eps = 0.0f;
  const ValueId normed =
      part(graph, Op::rms_norm, {n.in[0], n.in[1]}, RmsNormAttr{rope->eps}, n.name + ".norm");
  std::vector<ValueId> in{normed};
  if (n.in.size() > 2) in.push_back(n.in[2]);
  part_to(graph, Op::rope, std::move(in), n.out[0], only_rope, n.name + ".rope");
}

double bytes_of(const Value& value) {
  const quant::DTypeInfo& type = quant::info(value.dtype);
  return static_cast<double>(value.shape.elems()) / type.block_elems * type.block_bytes;
}

double elems_of(const Graph& graph, ValueId id) {
  return static_cast<double>(graph.value(id).shape.elems());
}

double bytes_moved(const Graph& graph, const Node& node) {
  double bytes = 0;
  for (ValueId id : node.in) bytes += bytes_of(graph.value(id));
  for (ValueId id : node.out) bytes += bytes_of(graph.value(id));
  return bytes;
}

/// Ops that do `flops` operations per element of input 0.
template <int flops>
OpCost cost_per_elem(const Graph& graph, const Node& node) {
  return {flops * elems_of(graph, node.in[0]), bytes_moved(graph, node)};
}

OpCost cost_embed(const Graph& graph, const Node& node) {
  const Value& table = graph.value(node.in[0]);
  const Value& out = graph.value(node.out[0]);
  const double rows =
      bytes_of(table) / static_cast<double>(table.shape[0]) * static_cast<double>(out.shape[0]);
  return {0, rows + bytes_of(graph.value(node.in[1])) + bytes_of(out)};
}

OpCost cost_matmul(const Graph& graph, const Node& node) {
  const double k = static_cast<double>(graph.value(node.in[0]).shape.cols());
  return {2 * k * elems_of(graph, node.out[0]), bytes_moved(graph, node)};
}

OpCost cost_matmul_swiglu(const Graph& graph, const Node& node) {
  const double k = static_cast<double>(graph.value(node.in[0]).shape.cols());
  return {(4 * k + 5) * elems_of(graph, node.out[0]), bytes_moved(graph, node)};
}

OpCost cost_attention(const Graph& graph, const Node& node) {
  // q.k and p*v of one full page of keys.
  return {4.0 * kPageTokens * elems_of(graph, node.in[0]), bytes_moved(graph, node)};
}

OpCost cost_short_conv(const Graph& graph, const Node& node) {
  const double taps = static_cast<double>(graph.value(node.in[1]).shape.cols());
  return {(2 * taps + 2) * elems_of(graph, node.out[0]), bytes_moved(graph, node)};
}

OpCost cost_moe_matmul(const Graph& graph, const Node& node) {
  const Value& w = graph.value(node.in[1]);
  const Value& out = graph.value(node.out[0]);
  const double touched = static_cast<double>(std::min(w.shape[0], out.shape[0]));
  const double unread = bytes_of(w) * (1 - touched / static_cast<double>(w.shape[0]));
  return {2 * static_cast<double>(w.shape.cols()) * elems_of(graph, node.out[0]),
          bytes_moved(graph, node) - unread};
}

OpCost cost_last_row(const Graph& graph, const Node& node) {
  return {0, 2 * bytes_of(graph.value(node.out[0]))};
}

// clang-format off: one row per op, aligned
constexpr std::array kSchemas = std::to_array<OpSchema>({
    // op, name, min_in, max_in, n_out, in_place, fused, infer, decompose, cost
    {Op::embed, "embed", 2, 2, 1, false, false, infer::embed, nullptr, cost_embed},
    {Op::rms_norm, "rms_norm", 2, 2, 1, true, false, infer::rms_norm, nullptr, cost_per_elem<4>},
    {Op::matmul, "matmul", 2, 3, 1, false, false, infer::matmul, nullptr, cost_matmul},
    {Op::add, "add", 2, 2, 1, true, false, infer::add, nullptr, cost_per_elem<1>},
    {Op::swiglu, "swiglu", 2, 2, 1, true, false, infer::swiglu, nullptr, cost_per_elem<5>},
    {Op::rope, "rope", 1, 2, 1, true, false, infer::rope, nullptr, cost_per_elem<3>},
    {Op::kv_append, "kv_append", 4, 4, 0, false, false, infer::kv_append, nullptr,
     cost_per_elem<0>},
    {Op::attention, "attention", 3, 3, 1, false, false, infer::attention, nullptr, cost_attention},
    {Op::rotate, "rotate", 1, 2, 1, true, false, infer::rotate, nullptr, cost_per_elem<7>},
    {Op::kv_seal, "kv_seal", 5, 5, 0, false, false, infer::kv_seal, nullptr, cost_per_elem<0>},
    {Op::kv_summary, "kv_summary", 2, 2, 0, false, false, infer::kv_summary, nullptr,
     cost_per_elem<0>},
    {Op::tile_attention, "tile_attention", 6, 7, 1, false, false, infer::tile_attention, nullptr,
     cost_attention},
    {Op::kv_window, "kv_window", 3, 3, 0, false, false, infer::kv_window, nullptr,
     cost_per_elem<0>},
    {Op::short_conv, "short_conv", 3, 4, 1, false, false, infer::short_conv, nullptr,
     cost_short_conv},
    {Op::moe_route, "moe_route", 1, 2, 2, false, false, infer::moe_route, nullptr,
     cost_per_elem<4>},
    {Op::moe_matmul, "moe_matmul", 3, 3, 1, false, false, infer::moe_matmul, nullptr,
     cost_moe_matmul},
    {Op::moe_sum, "moe_sum", 2, 2, 1, false, false, infer::moe_sum, nullptr, cost_per_elem<2>},
    {Op::last_row, "last_row", 1, 1, 1, false, false, infer::last_row, nullptr, cost_last_row},
    {Op::argmax, "argmax", 1, 1, 1, false, false, infer::argmax, nullptr, cost_per_elem<1>},
    {Op::add_rms_norm, "add_rms_norm", 3, 3, 2, true, true, infer::add_rms_norm,
     decompose_add_rms_norm, cost_per_elem<5>},
    {Op::matmul_swiglu, "matmul_swiglu", 3, 3, 1, false, true, infer::matmul_swiglu,
     decompose_matmul_swiglu, cost_matmul_swiglu},
    {Op::rms_norm_rope, "rms_norm_rope", 2, 3, 1, true, true, infer::rms_norm_rope,
     decompose_rms_norm_rope, cost_per_elem<7>},
});
// clang-format on

consteval bool table_is_in_enum_order() {
  for (std::size_t i = 0; i < kSchemas.size(); ++i)
    if (kSchemas[i].op != static_cast<Op>(i)) return false;
  return kSchemas.size() == static_cast<std::size_t>(Op::count);
}
static_assert(table_is_in_enum_order());

}  // namespace

const OpSchema& schema(Op op) {
  check(op < Op::count, "an op of the table");
  return kSchemas[static_cast<std::size_t>(op)];
}

}  // namespace runnel
