// Products of one row that lies ready (shaders/lib/ready.glsl), and what makes it so.
#include "backends/vulkan/steps/operands.h"
#include "backends/vulkan/steps/steps.h"

namespace runnel::vulkan::steps {
namespace {

constexpr std::uint32_t kUsualSubgroup = 32;  // others go round more often, or not at all

Operand ready_operand(const ReadyRow& row, std::int64_t values, Access access) {
  Operand operand = kept(row.offset, ready_bytes(values), access);
  operand.source = row.source;
  return operand;
}

/// How a product is cut: results of a workgroup, its threads, subgroups that share a row.
struct Cut {
  std::uint32_t results, threads, span;
};

/// Measured on one GPU of 132 processors, which shall all have work, but none a second helping.
Cut cut_of(std::int64_t n, std::int64_t groups, std::int64_t rows_of_set, bool pair) {
  const std::int64_t enough = pair ? 256 : 128;
  Cut cut{16, 0, 1};
  while (cut.results < 64 && n / (2 * cut.results) >= enough) cut.results *= 2;
  const std::int64_t sets = std::max<std::int64_t>(1, cut.results / rows_of_set);
  const std::int64_t each = (groups + kUsualSubgroup - 1) / kUsualSubgroup;  // pieces of a row
  const std::int64_t most = pair ? 8 : 16;
  std::int64_t subgroups = 4;
  while (subgroups < most && 2 * subgroups <= sets * each) subgroups *= 2;
  while (std::int64_t{cut.span} * 2 <= each && cut.span * 2 * sets <= subgroups) cut.span *= 2;
  cut.threads = u32(subgroups) * kUsualSubgroup;
  return cut;
}

}  // namespace

std::size_t ready_bytes(std::int64_t values) {
  constexpr std::size_t kAlignment = 256;
  const auto groups = static_cast<std::size_t>((values + 31) / 32);
  // Bytes; of each 16 a scale, a sum, and a sum of squares.
  const std::size_t bytes = groups * (32 + 2 * 8 + 2 * 4);
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

Dispatch make_ready(const Graph& graph, Bindings bindings, ValueId x, ValueId norm, ReadyRow to) {
  constexpr std::uint32_t kThreads = 64;
  const std::int64_t values = graph.value(x).shape.cols(), groups = values / 32;
  Dispatch d;
  d.shader = "ready.any";
  d.constants = {kThreads};
  d.push = {u32(groups), norm != kNoValue};
  d.operands = {read(bindings, x), read(bindings, norm == kNoValue ? x : norm),
                ready_operand(to, values, Access::write)};
  d.grid = {steps::groups(8 * groups, kThreads), Extent{}, Extent{}};
  return d;
}

Result<Step> ready_product(const Graph& graph,
                           const Node& node,
                           Bindings bindings,
                           const ReadyProduct& ready) {
  const bool pair = node.op == Op::matmul_swiglu, conv = ready.product.conv != nullptr;
  const RowProduct& product = ready.product;
  const WeightLayout layout = weight_layout(graph.value(node.in[1]));
  const std::int64_t n = conv ? layout.rows / 3 : layout.rows;
  const Cut cut = cut_of(n, layout.groups, conv ? 1 : pair ? 2 : 4, pair);
  const ValueId bias =
      conv ? (ready.product.conv->in.size() > 3 ? ready.product.conv->in[3] : kNoValue)
           : (!pair && node.in.size() > 2 ? node.in[2] : kNoValue);
  Dispatch d;
  d.shader = "matvec_ready." + std::string(layout.format->shader) +
             (conv   ? ".conv"
              : pair ? ".swiglu"
                     : ".none");
  d.constants = {cut.threads, cut.span, cut.results};
  d.push = weight_push(layout);
  d.push.insert(d.push.end(),
                {u32(n), bias != kNoValue, product.residual != kNoValue, product.norm != kNoValue,
                 bits(product.eps), ready.made.is_made, ready.made_norm != kNoValue});
  const auto or_out = [&](ValueId id) { return read(bindings, id == kNoValue ? node.in[1] : id); };
  d.operands = {read(bindings, node.in[1])};
  if (pair) d.operands.push_back(read(bindings, node.in[2]));
  d.operands.push_back(ready_operand(ready.x, layout.cols, Access::read));
  d.operands.insert(d.operands.end(), {write(bindings, product.out), or_out(bias),
                                       or_out(product.residual), or_out(ready.made_norm)});
  // Without a row to make: bound, not touched.
  d.operands.push_back(!ready.made.is_made ? ready_operand(ready.x, layout.cols, Access::read)
                                           : ready_operand(ready.made, n, Access::write));
  if (conv) {
    const Value &filter = graph.value(ready.product.conv->in[1]),
                &state = graph.value(ready.product.conv->in[2]);
    d.push.insert(d.push.end(),
                  {u32(filter.shape[1]), u32(state.shape[0]), u32(state.state_index)});
    d.operands.push_back(read(bindings, ready.product.conv->in[1]));
    d.states = {{state.state_index, Access::both}};
  }
  d.grid = {groups(n, cut.results), Extent{}, Extent{}};
  return Step{{std::move(d)}};
}

Result<Step> matvec_ready(const Graph& graph, const Node& node, Bindings bindings) {
  ReadyProduct ready;
  ready.product = {node.in[0], node.out[0], kNoValue, kNoValue, 0, nullptr};
  ready.x = {true, Operand::Source::scratch, 0};
  RUNNEL_ASSIGN(Step step, ready_product(graph, node, bindings, ready));
  step.dispatches.insert(step.dispatches.begin(),
                         make_ready(graph, bindings, node.in[0], kNoValue, ready.x));
  step.scratch_bytes = ready_bytes(graph.value(node.in[0]).shape.cols());
  return step;
}

}  // namespace runnel::vulkan::steps
