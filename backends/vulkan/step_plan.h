// The steps of a segment: nodes by their kernels, products fused with their neighbours
// (row_fusion.h). In segments of one token, what lies between products is taken in by them too: a
// product hands its result to the next one ready (shaders/lib/ready.glsl), a short convolution goes
// with the product before it, and ropes, kv_append and attention are one dispatch. Each of these
// waits for the one before it, so their number is what a token costs beside its bytes.
#pragma once
#include <functional>

#include "backends/vulkan/executable.h"

namespace runnel::vulkan {

/// What a plan asks of its backend.
struct PlanKernels {
  const Caps& caps;
  /// The first row for a node that is trusted, or null.
  std::function<const Row*(const Node&)> find;
  /// Whether a fused form of a row is trusted for this node.
  std::function<bool(const Row&, const Node&)> trusts;
  /// Whether what `nodes` become as one dispatch is trusted.
  std::function<bool(std::span<const Node>)> trusts_fused;
  std::function<Result<Step>(const Row&, const Node&)> prepare;
};

/// ERRORS: unsupported, and those of prepare functions.
Result<StepPlan> plan_steps(const Graph& graph, const Segment& segment, const PlanKernels& kernels);

}  // namespace runnel::vulkan
