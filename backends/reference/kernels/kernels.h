// Declarations of all reference kernels and of the scratch they need. What an op computes is said
// at its name in runtime/graph/ops.h; how is said in the kernel's file.
#pragma once
#include "backends/reference/kernel.h"

namespace runnel::reference::kernels {

Status embed(const Step& step, const StepContext& context);
Status rms_norm(const Step& step, const StepContext& context);
Status matmul(const Step& step, const StepContext& context);
Status add(const Step& step, const StepContext& context);
Status swiglu(const Step& step, const StepContext& context);
Status rope(const Step& step, const StepContext& context);
Status kv_append(const Step& step, const StepContext& context);
Status attention(const Step& step, const StepContext& context);
Status rotate(const Step& step, const StepContext& context);
Status kv_seal(const Step& step, const StepContext& context);
Status tile_attention(const Step& step, const StepContext& context);
Status kv_summary(const Step& step, const StepContext& context);
Status kv_window(const Step& step, const StepContext& context);
Status short_conv(const Step& step, const StepContext& context);
Status moe_route(const Step& step, const StepContext& context);
Status moe_matmul(const Step& step, const StepContext& context);
Status moe_sum(const Step& step, const StepContext& context);
Status last_row(const Step& step, const StepContext& context);
Status argmax(const Step& step, const StepContext& context);
Status add_rms_norm(const Step& step, const StepContext& context);
Status matmul_swiglu(const Step& step, const StepContext& context);
Status rms_norm_rope(const Step& step, const StepContext& context);

/// Floats of scratch; ops without a function here need none.
std::int64_t rms_norm_scratch(const Graph& graph, const Node& node);
std::int64_t add_rms_norm_scratch(const Graph& graph, const Node& node);
std::int64_t matmul_scratch(const Graph& graph, const Node& node);
std::int64_t matmul_swiglu_scratch(const Graph& graph, const Node& node);
std::int64_t rope_scratch(const Graph& graph, const Node& node);
std::int64_t attention_scratch(const Graph& graph, const Node& node);
std::int64_t kv_seal_scratch(const Graph& graph, const Node& node);
std::int64_t tile_attention_scratch(const Graph& graph, const Node& node);
std::int64_t short_conv_scratch(const Graph& graph, const Node& node);
std::int64_t moe_route_scratch(const Graph& graph, const Node& node);
std::int64_t moe_matmul_scratch(const Graph& graph, const Node& node);

}  // namespace runnel::reference::kernels
