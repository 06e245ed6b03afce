// The kernels of kernel_table.cc: how each op is cut among threads. The arithmetic is in isa/.
#pragma once
#include "backends/cpu/kernel.h"

namespace runnel::cpu::steps {

void embed(const Step& step, const StepContext& context);
void rms_norm(const Step& step, const StepContext& context);
void matmul(const Step& step, const StepContext& context);
void add(const Step& step, const StepContext& context);
void swiglu(const Step& step, const StepContext& context);
void rope(const Step& step, const StepContext& context);
void kv_append(const Step& step, const StepContext& context);
void attention(const Step& step, const StepContext& context);
void rotate(const Step& step, const StepContext& context);
void kv_seal(const Step& step, const StepContext& context);
void tile_attention(const Step& step, const StepContext& context);
void kv_summary(const Step& step, const StepContext& context);
void kv_window(const Step& step, const StepContext& context);
void short_conv(const Step& step, const StepContext& context);
void moe_route(const Step& step, const StepContext& context);
void moe_matmul(const Step& step, const StepContext& context);
void moe_sum(const Step& step, const StepContext& context);
void last_row(const Step& step, const StepContext& context);
void argmax(const Step& step, const StepContext& context);
void add_rms_norm(const Step& step, const StepContext& context);
void matmul_swiglu(const Step& step, const StepContext& context);
void rms_norm_rope(const Step& step, const StepContext& context);

/// Scratch each of them needs; no_scratch for the others.
Scratch no_scratch(const Graph& graph, const Node& node);
Scratch norm_scratch(const Graph& graph, const Node& node);
Scratch matmul_scratch(const Graph& graph, const Node& node);
Scratch matmul_swiglu_scratch(const Graph& graph, const Node& node);
Scratch library_scratch(const Graph& graph, const Node& node);  // matmul, matmul_swiglu
Scratch moe_matmul_scratch(const Graph& graph, const Node& node);
/// The same for bf16 weights by bf16_dots, with or without oneDNN.
Scratch matmul_bf16_scratch(const Graph& graph, const Node& node);
Scratch matmul_swiglu_bf16_scratch(const Graph& graph, const Node& node);
Scratch moe_matmul_bf16_scratch(const Graph& graph, const Node& node);
Scratch moe_route_scratch(const Graph& graph, const Node& node);
Scratch rope_scratch(const Graph& graph, const Node& node);
Scratch attention_scratch(const Graph& graph, const Node& node);
Scratch tile_attention_scratch(const Graph& graph, const Node& node);

/// Norm weights as f32, decoded into norm_weight_bytes() of `scratch` when they are not.
const float* norm_weight(const Operand& weight, std::byte* scratch);
std::size_t norm_weight_bytes(const Value& weight);

}  // namespace runnel::cpu::steps
