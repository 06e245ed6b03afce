// The kernel rows of the CPU backend: one per op, weight format and ISA level; best level first.
#pragma once
#include <cstdint>
#include <span>

#include "backends/cpu/isa/levels.h"
#include "backends/cpu/kernel.h"
#include "runtime/backend/kernel_table.h"
#include "runtime/base/log.h"

namespace runnel::cpu {

/// What multiplies float weights with many tokens.
enum class OneDnn : std::uint8_t {
  never,
  measured,  // whatever is fastest, measured at first use and kept for the process
  f32,
  bf16,  // weights of bf16; others in f32
};

/// What the machine can do, and what the user allows.
struct Caps {
  Isa isa = Isa::baseline;
  OneDnn onednn = OneDnn::never;
  const Log* log = nullptr;  // set unless `onednn` is never
};

struct Row : KernelEntry<Step, Caps> {
  Scratch (*scratch)(const Graph& graph, const Node& node);
};

std::span<const Row> kernel_table();

}  // namespace runnel::cpu
