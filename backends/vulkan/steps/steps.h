// What each op becomes: predicates and prepare functions of the kernel table's rows. A prepare
// function turns a node and its bindings into dispatches; it touches no device.
#pragma once
#include "backends/vulkan/kernel.h"

namespace runnel::vulkan::steps {

using Bindings = std::span<const BufferView>;

Result<Step> embed(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> rms_norm(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> add_rms_norm(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> elementwise(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> rope(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> rotate(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> short_conv(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> moe_route(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> moe_sum(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> last_row(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> argmax(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> kv_append(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> attention(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> kv_seal(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> kv_window(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> kv_summary(const Graph& graph, const Node& node, Bindings bindings);
/// Bytes of the lists of pages that the tokens of a step choose; one binding.
std::size_t page_lists_bytes(const Graph& graph, const AttentionAttr& attr);
Result<Step> tile_attention(const Graph& graph, const Node& node, Bindings bindings);
/// matmul, matmul_swiglu and moe_matmul of few rows; sums by subgroup instructions or without.
Result<Step> matvec(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> matvec_subgroup(const Graph& graph, const Node& node, Bindings bindings);

/// The same for one row, by a kernel that can also norm the row and add a residual.
struct RowProduct {
  ValueId x = kNoValue, out = kNoValue;
  ValueId residual = kNoValue;  // added to the result
  ValueId norm = kNoValue;      // weight of an rms_norm of x
  float eps = 0;
};
bool is_row_product(const Graph& graph, const Node& node);
Result<Step> matvec_row(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> row_product(const Graph& graph,
                         const Node& node,
                         Bindings bindings,
                         const RowProduct& product);
/// The same in integers: the row becomes bytes with a scale per group. Some weight types.
bool is_dot_product(const Graph& graph, const Node& node);
Result<Step> matvec_dot(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> dot_product(const Graph& graph,
                         const Node& node,
                         Bindings bindings,
                         const RowProduct& product);
/// matmul and matmul_swiglu of many rows on the matrix units, in f16 with f32 sums.
bool is_matrix_product(const Graph& graph, const Node& node);
Result<Step> matmul(const Graph& graph, const Node& node, Bindings bindings);
/// attention over f16 pages with heads of 64 or 128 channels.
Result<Step> attention_row(const Graph& graph, const Node& node, Bindings bindings);
/// The same for steps of many tokens, which share the keys they read: plain, and on matrix units.
bool is_long_step(const Graph& graph);
Result<Step> attention_tile(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> attention_matrix(const Graph& graph, const Node& node, Bindings bindings);

}  // namespace runnel::vulkan::steps
