// The kernel rows of the reference backend: one per op, any number format.
#pragma once
#include <cstdint>
#include <span>

#include "backends/reference/kernel.h"
#include "runtime/backend/kernel_table.h"

namespace runnel::reference {

/// Plain C++ needs no capability.
struct Caps {};

struct Row : KernelEntry<Step, Caps> {
  /// Floats of scratch that one run of the kernel needs.
  std::int64_t (*scratch_floats)(const Graph& graph, const Node& node);
};

std::span<const Row> kernel_table();

}  // namespace runnel::reference
