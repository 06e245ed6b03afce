#include "backends/vulkan/kernel_table.h"

#include <array>

#include "backends/vulkan/steps/steps.h"
#include "backends/vulkan/weight_layout.h"

namespace runnel::vulkan {
namespace {

bool fits(const Value& weight, const Caps& caps) {
  return weight_layout(weight).bytes <= caps.max_binding_bytes;
}

bool always(const Graph&, const Node&, const Caps&) {
  return true;
}
/// The first weights fit a binding of this device.
bool table_fits(const Graph& graph, const Node& node, const Caps& caps) {
  return fits(graph.value(node.in[0]), caps);
}
bool matrix_fits(const Graph& graph, const Node& node, const Caps& caps) {
  return fits(graph.value(node.in[1]), caps);
}
bool pair_fits(const Graph& graph, const Node& node, const Caps& caps) {
  const Value &gate = graph.value(node.in[1]), &up = graph.value(node.in[2]);
  return gate.dtype == up.dtype && fits(gate, caps);
}
bool subgroup_matrix(const Graph& graph, const Node& node, const Caps& caps) {
  return caps.subgroup_arithmetic && matrix_fits(graph, node, caps);
}
bool subgroup_pair(const Graph& graph, const Node& node, const Caps& caps) {
  return caps.subgroup_arithmetic && pair_fits(graph, node, caps);
}
bool one_row(const Graph& graph, const Node& node, const Caps& caps) {
  return subgroup_matrix(graph, node, caps) && steps::is_row_product(graph, node);
}
bool one_row_pair(const Graph& graph, const Node& node, const Caps& caps) {
  return subgroup_pair(graph, node, caps) && steps::is_row_product(graph, node);
}
/// Products of four bytes are one instruction, and eight neighbours of a subgroup can compare.
bool byte_row(const Graph& graph, const Node& node, const Caps& caps) {
  return caps.integer_dot && caps.subgroup_clustered && caps.subgroup_size >= 8 &&
         caps.max_invocations >= 512 && subgroup_matrix(graph, node, caps) &&
         steps::is_dot_product(graph, node);
}
bool byte_row_pair(const Graph& graph, const Node& node, const Caps& caps) {
  return pair_fits(graph, node, caps) && byte_row(graph, node, caps);
}
/// The matrix units take 16 x 16 x 16, and a workgroup's tiles fit.
bool has_matrix_units(const Caps& caps) {
  constexpr std::size_t kTiles = 46080;
  return caps.matrix.m == 16 && caps.matrix.n == 16 && caps.matrix.k == 16 &&
         caps.subgroup_size == 32 && caps.shared_bytes >= kTiles;
}
bool matrix_units(const Graph& graph, const Node& node, const Caps& caps) {
  return has_matrix_units(caps) && matrix_fits(graph, node, caps) &&
         steps::is_matrix_product(graph, node);
}
bool matrix_units_pair(const Graph& graph, const Node& node, const Caps& caps) {
  return pair_fits(graph, node, caps) && matrix_units(graph, node, caps);
}
/// What attention_row was written for.
bool usual_heads(const Graph& graph, const Node& node, const Caps& caps) {
  const AttentionAttr* attr = std::get_if<AttentionAttr>(&node.attr);
  return caps.subgroup_arithmetic && attr != nullptr &&
         (attr->head_dim == 64 || attr->head_dim == 128) && attr->n_heads / attr->n_kv_heads <= 8 &&
         graph.value(node.in[1]).dtype == DType::f16;
}
bool many_rows(const Graph& graph, const Node& node, const Caps& caps) {
  const AttentionAttr* attr = std::get_if<AttentionAttr>(&node.attr);
  return attr != nullptr && (attr->head_dim == 64 || attr->head_dim == 128) &&
         attr->n_heads / attr->n_kv_heads <= 16 && graph.value(node.in[1]).dtype == DType::f16 &&
         steps::is_long_step(graph) && caps.shared_bytes >= 32768;
}
bool many_rows_matrix(const Graph& graph, const Node& node, const Caps& caps) {
  return has_matrix_units(caps) && caps.subgroup_clustered && many_rows(graph, node, caps);
}
/// Filters become f32.
bool short_filter(const Graph& graph, const Node& node, const Caps&) {
  return becomes_f32(graph.value(node.in[1]));
}
/// Scores of all experts are held by a workgroup.
bool few_experts(const Graph& graph, const Node& node, const Caps&) {
  return graph.value(node.in[0]).shape.cols() <= 1024;
}
/// A workgroup holds a query, and each of its threads a few channels.
bool small_head(const Graph&, const Node& node, const Caps&) {
  const AttentionAttr* attr = std::get_if<AttentionAttr>(&node.attr);
  return attr != nullptr && attr->head_dim <= 256;
}
/// A workgroup holds a summary.
bool small_keys(const Graph& graph, const Node& node, const Caps&) {
  return graph.value(node.in[0]).shape[2] <= 256;
}
/// Lists of chosen pages are one binding.
bool small_head_of_tiles(const Graph& graph, const Node& node, const Caps& caps) {
  const AttentionAttr* attr = std::get_if<AttentionAttr>(&node.attr);
  return small_head(graph, node, caps) &&
         steps::page_lists_bytes(graph, *attr) <= caps.max_binding_bytes;
}

// clang-format off: one row per kernel, aligned
constexpr std::array kRows = std::to_array<Row>({
    {Op::embed, "embed", table_fits, steps::embed},
    {Op::rms_norm, "rms_norm", always, steps::rms_norm},
    {Op::matmul, "matvec dot", byte_row, steps::matvec_dot},
    {Op::matmul, "matvec ready", byte_row, steps::matvec_ready},
    {Op::matmul, "matvec row", one_row, steps::matvec_row},
    {Op::matmul, "matrix units", matrix_units, steps::matmul},
    {Op::matmul, "matvec subgroup", subgroup_matrix, steps::matvec_subgroup},
    {Op::matmul, "matvec", matrix_fits, steps::matvec},
    {Op::add, "add", always, steps::elementwise},
    {Op::swiglu, "swiglu", always, steps::elementwise},
    {Op::rope, "rope", always, steps::rope},
    {Op::kv_append, "kv_append", always, steps::kv_append},
    {Op::attention, "attention matrix", many_rows_matrix, steps::attention_matrix},
    {Op::attention, "attention tile", many_rows, steps::attention_tile},
    {Op::attention, "attention row", usual_heads, steps::attention_row},
    {Op::attention, "attention", small_head, steps::attention},
    {Op::rotate, "rotate", always, steps::rotate},
    {Op::kv_seal, "kv_seal", always, steps::kv_seal},
    {Op::kv_summary, "kv_summary", small_keys, steps::kv_summary},
    {Op::tile_attention, "tile_attention", small_head_of_tiles, steps::tile_attention},
    {Op::kv_window, "kv_window", always, steps::kv_window},
    {Op::short_conv, "short_conv", short_filter, steps::short_conv},
    {Op::moe_route, "moe_route", few_experts, steps::moe_route},
    {Op::moe_matmul, "matvec moe subgroup", subgroup_matrix, steps::matvec_subgroup},
    {Op::moe_matmul, "matvec moe", matrix_fits, steps::matvec},
    {Op::moe_sum, "moe_sum", always, steps::moe_sum},
    {Op::last_row, "last_row", always, steps::last_row},
    {Op::argmax, "argmax", always, steps::argmax},
    {Op::add_rms_norm, "add_rms_norm", always, steps::add_rms_norm},
    {Op::matmul_swiglu, "matvec dot swiglu", byte_row_pair, steps::matvec_dot},
    {Op::matmul_swiglu, "matvec ready swiglu", byte_row_pair, steps::matvec_ready},
    {Op::matmul_swiglu, "matvec row swiglu", one_row_pair, steps::matvec_row},
    {Op::matmul_swiglu, "matrix units swiglu", matrix_units_pair, steps::matmul},
    {Op::matmul_swiglu, "matvec swiglu subgroup", subgroup_pair, steps::matvec_subgroup},
    {Op::matmul_swiglu, "matvec swiglu", pair_fits, steps::matvec},
    {Op::rms_norm_rope, "rms_norm_rope", always, steps::rope},
});
// clang-format on

}  // namespace

std::span<const Row> kernel_table() {
  return kRows;
}

}  // namespace runnel::vulkan
