#include "backends/reference/kernel_table.h"

#include <array>

#include "backends/reference/kernels/kernels.h"

namespace runnel::reference {
namespace {

bool always(const Graph&, const Node&, const Caps&) {
  return true;
}

std::int64_t none(const Graph&, const Node&) {
  return 0;
}

template <Kernel kernel>
Result<Step> prepare(const Graph& graph, const Node& node, std::span<const BufferView> bindings) {
  Step step;
  step.run = kernel;
  step.attr = node.attr;
  for (std::size_t i = 0; i < node.in.size(); ++i) {
    RUNNEL_ASSIGN(step.in[i], bind_host(graph, node.in[i], bindings, WeightAlignment::any));
  }
  for (std::size_t i = 0; i < node.out.size(); ++i) {
    RUNNEL_ASSIGN(step.out[i], bind_host(graph, node.out[i], bindings, WeightAlignment::any));
  }
  return step;
}

template <Kernel kernel>
constexpr Row row(Op op, std::string_view name, decltype(Row::scratch_floats) scratch = none) {
  return {{op, name, always, prepare<kernel>}, scratch};
}

// clang-format off: one row per op, aligned
constexpr std::array kRows = std::to_array<Row>({
    row<kernels::embed>(Op::embed, "embed"),
    row<kernels::rms_norm>(Op::rms_norm, "rms_norm", kernels::rms_norm_scratch),
    row<kernels::matmul>(Op::matmul, "matmul", kernels::matmul_scratch),
    row<kernels::add>(Op::add, "add"),
    row<kernels::swiglu>(Op::swiglu, "swiglu"),
    row<kernels::rope>(Op::rope, "rope", kernels::rope_scratch),
    row<kernels::kv_append>(Op::kv_append, "kv_append"),
    row<kernels::attention>(Op::attention, "attention", kernels::attention_scratch),
    row<kernels::rotate>(Op::rotate, "rotate"),
    row<kernels::kv_seal>(Op::kv_seal, "kv_seal", kernels::kv_seal_scratch),
    row<kernels::kv_summary>(Op::kv_summary, "kv_summary"),
    row<kernels::tile_attention>(
        Op::tile_attention, "tile_attention", kernels::tile_attention_scratch),
    row<kernels::kv_window>(Op::kv_window, "kv_window"),
    row<kernels::short_conv>(Op::short_conv, "short_conv", kernels::short_conv_scratch),
    row<kernels::moe_route>(Op::moe_route, "moe_route", kernels::moe_route_scratch),
    row<kernels::moe_matmul>(Op::moe_matmul, "moe_matmul", kernels::moe_matmul_scratch),
    row<kernels::moe_sum>(Op::moe_sum, "moe_sum"),
    row<kernels::last_row>(Op::last_row, "last_row"),
    row<kernels::argmax>(Op::argmax, "argmax"),
    row<kernels::add_rms_norm>(Op::add_rms_norm, "add_rms_norm", kernels::add_rms_norm_scratch),
    row<kernels::matmul_swiglu>(Op::matmul_swiglu, "matmul_swiglu", kernels::matmul_swiglu_scratch),
    row<kernels::rms_norm_rope>(Op::rms_norm_rope, "rms_norm_rope", kernels::rope_scratch),
});
// clang-format on

consteval bool has_every_op() {
  for (std::size_t i = 0; i < kRows.size(); ++i)
    if (kRows[i].op != static_cast<Op>(i)) return false;
  return kRows.size() == static_cast<std::size_t>(Op::count);
}
static_assert(has_every_op(), "the reference runs every op");

}  // namespace

std::span<const Row> kernel_table() {
  return kRows;
}

}  // namespace runnel::reference
