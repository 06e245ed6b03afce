// Products of many rows on the matrix units: the rows and the weights become f16 in scratch memory
// (weights of one product fit a GPU's second cache), then one kernel multiplies.
#include "backends/vulkan/steps/operands.h"
#include "backends/vulkan/steps/steps.h"
#include "runtime/base/checked.h"

namespace runnel::vulkan::steps {
namespace {

constexpr std::uint32_t kThreads = 256;
constexpr std::size_t kMaxScratch = std::size_t{96} << 20;  // of one product's weights

std::size_t half_bytes(std::int64_t rows, std::int64_t cols) {
  return align_up(static_cast<std::size_t>(rows * cols) * 2, 256);
}

/// Where things lie in scratch memory.
struct Places {
  std::size_t w = 0, x = 0, factors = 0, gate = 0, up = 0, end = 0;
};

Places places(const Value& x, const Value& w, bool pair) {
  Places p;
  p.x = half_bytes(w.shape[0], w.shape[1]);
  p.factors = p.x + half_bytes(x.shape[0], x.shape[1]);
  p.gate = p.factors + align_up(static_cast<std::size_t>(x.shape[0]) * 4, 256);
  const std::size_t result =
      pair ? align_up(static_cast<std::size_t>(x.shape[0] * w.shape[0]) * 4, 256) : 0;
  p.up = p.gate + result;
  p.end = p.up + result;
  return p;
}

Dispatch unpack(Bindings bindings, ValueId weight, const WeightLayout& layout, const Places& p) {
  Dispatch d;
  d.shader = "unpack." + std::string(layout.format->shader);
  d.constants = {kThreads};
  d.push = weight_push(layout);
  d.push.push_back(u32(layout.rows));
  d.operands = {read(bindings, weight),
                scratch(p.w, half_bytes(layout.rows, layout.cols), Access::write)};
  d.grid = {groups(layout.rows * layout.groups, kThreads), Extent{}, Extent{}};
  return d;
}

Dispatch multiply(const Graph& graph,
                  const Value& x,
                  const WeightLayout& layout,
                  const Places& p,
                  const Operand& out,
                  const Operand* bias) {
  const Rows rows = rows_of(graph, x);
  // Large tiles read less, as long as there are enough of them to keep a large GPU busy.
  constexpr std::int64_t kEnoughTiles = 192;
  const std::int64_t tiles = (layout.rows + 127) / 128 * ((x.shape[0] + 127) / 128);
  const std::uint32_t tile = tiles >= kEnoughTiles ? 128 : 64;
  Dispatch d;
  d.shader = "matmul_f16." + std::to_string(tile);
  d.push = {u32(layout.rows), u32(layout.cols), rows.fixed, rows.per_token, bias != nullptr};
  const Operand factors =
      scratch(p.factors, static_cast<std::size_t>(x.shape[0]) * 4, Access::read);
  d.operands = {scratch(p.w, half_bytes(layout.rows, layout.cols), Access::read),
                scratch(p.x, half_bytes(x.shape[0], x.shape[1]), Access::read), factors, out,
                bias != nullptr ? *bias : factors};
  d.grid = {groups(layout.rows, 128), extent(rows, 1, tile), Extent{}};
  return d;
}

}  // namespace

bool is_matrix_product(const Graph& graph, const Node& node) {
  constexpr std::int64_t kFewRows = 8;
  const Value &x = graph.value(node.in[0]), &w = graph.value(node.in[1]);
  return x.per_token && x.shape[0] > kFewRows && w.shape.cols() % 64 == 0 && !becomes_f32(w) &&
         w.dtype != DType::f32 && half_bytes(w.shape[0], w.shape[1]) <= kMaxScratch;
}

Result<Step> matmul(const Graph& graph, const Node& node, Bindings bindings) {
  const bool pair = node.op == Op::matmul_swiglu;
  const Value &x = graph.value(node.in[0]), &w = graph.value(node.in[1]);
  const WeightLayout layout = weight_layout(w);
  const Places p = places(x, w, pair);
  const Rows rows = rows_of(graph, x);
  Step step;
  step.scratch_bytes = p.end;
  Dispatch half;
  half.shader = "to_half.scaled";
  half.constants = {kThreads};
  half.push = {u32(layout.cols), rows.fixed, rows.per_token};
  half.operands = {read(bindings, node.in[0]),
                   scratch(p.x, half_bytes(x.shape[0], x.shape[1]), Access::write),
                   scratch(p.factors, static_cast<std::size_t>(x.shape[0]) * 4, Access::write)};
  half.grid = {extent(rows), Extent{}, Extent{}};
  step.dispatches = {std::move(half), unpack(bindings, node.in[1], layout, p)};
  const Operand out = write(bindings, node.out[0]);
  if (!pair) {
    const bool biased = node.in.size() > 2;
    const Operand bias = read(bindings, node.in[biased ? 2 : 1]);
    step.dispatches.push_back(multiply(graph, x, layout, p, out, biased ? &bias : nullptr));
    return step;
  }
  const auto bytes = static_cast<std::size_t>(x.shape[0] * w.shape[0]) * 4;
  step.dispatches.push_back(
      multiply(graph, x, layout, p, scratch(p.gate, bytes, Access::write), nullptr));
  step.dispatches.push_back(unpack(bindings, node.in[2], layout, p));
  step.dispatches.push_back(
      multiply(graph, x, layout, p, scratch(p.up, bytes, Access::write), nullptr));
  Dispatch gated;
  gated.shader = "elementwise.swiglu";
  gated.constants = {kThreads};
  gated.push = {u32(w.shape[0]), rows.fixed, rows.per_token};
  gated.operands = {scratch(p.gate, bytes, Access::read), scratch(p.up, bytes, Access::read), out};
  gated.grid = {groups(x.shape[0] * w.shape[0], std::int64_t{4} * kThreads), Extent{}, Extent{}};
  step.dispatches.push_back(std::move(gated));
  return step;
}

}  // namespace runnel::vulkan::steps
