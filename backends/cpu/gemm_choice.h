// Who multiplies float weights with many tokens: our kernels or oneDNN. Which is faster depends on
// the processor and on the library's version, so both are tried on one core, about 10 ms. oneDNN
// must be a tenth faster than our kernels, whose results do not depend on how many tokens come
// together. What is taken is logged (debug).
#pragma once
#include "backends/cpu/isa/kernels.h"
#include "runtime/base/log.h"

namespace runnel::cpu {

/// In f32, against the level's f32 dot kernel.
bool library_wins(const Kernels& kernels, const Log& log);
/// In bf16, against panels of bf16_dots. REQUIRES: the level has them.
bool library_wins_in_bf16(const Kernels& kernels, const Log& log);

}  // namespace runnel::cpu
