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
/// What rope() knows of its frequencies, as a constant of the dispatch. ERRORS: invalid_argument.
Result<Operand> rope_speeds(const Node& node, Bindings bindings);
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
  const Node* conv = nullptr;  // short_conv of the result, which becomes `out`
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

/// A row of values that lies ready for products: shaders/lib/ready.glsl.
struct ReadyRow {
  bool is_made = false;
  Operand::Source source = Operand::Source::kept;  // or scratch
  std::size_t offset = 0;
};
std::size_t ready_bytes(std::int64_t values);
/// x: [1, values], multiplied by a norm's weight unless `norm` is kNoValue.
Dispatch make_ready(const Graph& graph, Bindings bindings, ValueId x, ValueId norm, ReadyRow to);
/// A product of a row that lies ready. REQUIRES: is_dot_product().
struct ReadyProduct {
  RowProduct product;
  ReadyRow x;
  ReadyRow made;  // the result, ready for the next
  ValueId made_norm = kNoValue;
};
Result<Step> ready_product(const Graph& graph,
                           const Node& node,
                           Bindings bindings,
                           const ReadyProduct& ready);
/// Both dispatches: what a known answer tests.
Result<Step> matvec_ready(const Graph& graph, const Node& node, Bindings bindings);

/// matmul and matmul_swiglu of many rows on the matrix units, in f16 with f32 sums.
bool is_matrix_product(const Graph& graph, const Node& node);
Result<Step> matmul(const Graph& graph, const Node& node, Bindings bindings);
/// attention over f16 pages with heads of 64 or 128 channels.
Result<Step> attention_row(const Graph& graph, const Node& node, Bindings bindings);
/// One token: with the ropes of q and k and the kv_append before it, and its result made ready.
struct AttentionStep {
  const Node *q = nullptr, *k = nullptr;  // rope or rms_norm_rope
  const Node* append = nullptr;
  ReadyRow made;
};
Result<Step> attention_step(const Graph& graph,
                            const Node& node,
                            Bindings bindings,
                            const AttentionStep& around);
/// The same for steps of many tokens, which share the keys they read: plain, and on matrix units.
bool is_long_step(const Graph& graph);
Result<Step> attention_tile(const Graph& graph, const Node& node, Bindings bindings);
Result<Step> attention_matrix(const Graph& graph, const Node& node, Bindings bindings);

}  // namespace runnel::vulkan::steps
