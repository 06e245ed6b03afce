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
Result<Step> tile_attention(const Graph& graph, const Node& node, Bindings bindings);
/// matmul, matmul_swiglu and moe_matmul of few rows; sums by subgroup instructions or without.
Result<Step> matvec(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> matvec_subgroup(const Graph& graph, const Node& node, Bindings bindings);

}  // namespace runnel::vulkan::steps
