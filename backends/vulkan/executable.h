// A compiled segment: one command buffer, recorded once, and what the host writes before each run.
// A submit writes the step's parameters, page tables and grids, and hands over the command buffer:
// nothing is recorded per token.
#pragma once
#include <memory>

#include "backends/vulkan/kernel_table.h"
#include "backends/vulkan/step_memory.h"
#include "runtime/backend/backend.h"

namespace runnel::vulkan {

/// What executables of one backend share.
struct Machine {
  Device& device;
  Memory& memory;
  Pipelines& pipelines;
  StepMemory& step;
};

/// A node's dispatches, and their index in the segment.
struct PlannedStep {
  Step step;
  std::size_t node = 0;
};

/// What a segment becomes, and the memory that its dispatches share for a whole run.
struct StepPlan {
  std::vector<PlannedStep> steps;
  std::size_t kept_bytes = 0;
};

/// ERRORS: unsupported, out_of_memory, internal.
Result<std::unique_ptr<Executable>> make_executable(Machine& machine,
                                                    const Graph& graph,
                                                    const Segment& segment,
                                                    StepPlan plan);

}  // namespace runnel::vulkan
