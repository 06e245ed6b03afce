// Few tokens: one dispatch, a thread per channel. Many: rows in parallel, then the ring.
#include "backends/vulkan/steps/operands.h"
#include "backends/vulkan/steps/steps.h"

namespace runnel::vulkan::steps {

Result<Step> short_conv(const Graph& graph, const Node& node, Bindings bindings) {
  constexpr std::uint32_t kThreads = 64;
  constexpr std::int64_t kFewTokens = 8;
  const Value &filter = graph.value(node.in[1]), &state = graph.value(node.in[2]);
  const std::int64_t d_model = filter.shape[0];
  const bool biased = node.in.size() > 3;
  Dispatch d;
  d.constants = {kThreads};
  d.push = {u32(d_model), u32(filter.shape[1]), u32(state.shape[0]), u32(state.state_index),
            biased};
  d.operands = {read(bindings, node.in[0]), read(bindings, node.in[1]),
                read(bindings, node.in[biased ? 3 : 1]), write(bindings, node.out[0])};
  d.grid = {groups(d_model, kThreads), Extent{}, Extent{}};
  Step step;
  if (graph.max_tokens() <= kFewTokens) {
    d.shader = "short_conv.all";
    d.states = {{state.state_index, Access::both}};
    step.dispatches = {std::move(d)};
    return step;
  }
  Dispatch ring = d;
  d.shader = "short_conv.rows";
  d.states = {{state.state_index, Access::read}};
  d.grid[1] = Extent{0, 1, 1};
  ring.shader = "short_conv.ring";
  ring.states = {{state.state_index, Access::write}};
  ring.operands[3].access = Access::read;  // bound, not touched
  step.dispatches = {std::move(d), std::move(ring)};
  return step;
}

}  // namespace runnel::vulkan::steps
