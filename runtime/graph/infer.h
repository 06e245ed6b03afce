// Shape and dtype inference, one function per op. Used by the schema table only. Each checks the
// inputs of `node` and sets, or compares with, the shapes of its outputs; ERRORS: invalid_argument,
// naming the node, the op and the operands' shapes. REQUIRES: the input count fits the schema.
#pragma once
#include "runtime/base/status.h"
#include "runtime/graph/graph.h"

namespace runnel::infer {

Status embed(Graph& graph, Node& node);
Status rms_norm(Graph& graph, Node& node);
Status matmul(Graph& graph, Node& node);
Status add(Graph& graph, Node& node);
Status swiglu(Graph& graph, Node& node);
Status rope(Graph& graph, Node& node);
Status kv_append(Graph& graph, Node& node);
Status attention(Graph& graph, Node& node);
Status rotate(Graph& graph, Node& node);
Status kv_seal(Graph& graph, Node& node);
Status tile_attention(Graph& graph, Node& node);
Status kv_summary(Graph& graph, Node& node);
Status kv_window(Graph& graph, Node& node);
Status short_conv(Graph& graph, Node& node);
Status moe_route(Graph& graph, Node& node);
Status moe_matmul(Graph& graph, Node& node);
Status moe_sum(Graph& graph, Node& node);
Status last_row(Graph& graph, Node& node);
Status argmax(Graph& graph, Node& node);
Status add_rms_norm(Graph& graph, Node& node);
Status matmul_swiglu(Graph& graph, Node& node);
Status rms_norm_rope(Graph& graph, Node& node);

}  // namespace runnel::infer
