// A segment as a captured CUDA graph: one launch per step.
#pragma once
#include <memory>

#include "backends/cuda/kernel_table.h"
#include "backends/cuda/memory.h"

namespace runnel::cuda {

std::size_t scratch_bytes(const Graph& graph, std::span<const Node> nodes, const Caps& caps);

/// `device` and `pool` must outlive the result. ERRORS: unsupported, invalid_argument,
/// out_of_memory, device_lost.
Result<std::unique_ptr<Executable>> compile(const Graph& graph,
                                            const Segment& segment,
                                            const Device& device,
                                            const std::shared_ptr<Pool>& pool);

}  // namespace runnel::cuda
