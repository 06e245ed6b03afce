// The kernel rows of the CPU backend: one per op, weight format and ISA level; best level first.
#pragma once
#include <span>

#include "backends/cpu/isa/levels.h"
#include "backends/cpu/kernel.h"
#include "runtime/backend/kernel_table.h"

namespace runnel::cpu {

/// What the machine can do, and what the user allows.
struct Caps {
  Isa isa = Isa::baseline;
  bool onednn = false;
};

struct Row : KernelEntry<Step, Caps> {
  Scratch (*scratch)(const Graph& graph, const Node& node);
};

std::span<const Row> kernel_table();

}  // namespace runnel::cpu
