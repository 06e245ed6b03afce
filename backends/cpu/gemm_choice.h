// Who multiplies float weights with many tokens: our kernels or oneDNN. Which is faster depends on
// the processor and on the library's version, so both are tried.
#pragma once
#include <cstdint>

#include "backends/cpu/isa/kernels.h"
#include "runtime/base/log.h"

namespace runnel::cpu {

enum class Gemm : std::uint8_t {
  own,           // the level's dot kernels
  library,       // oneDNN in f32
  library_bf16,  // oneDNN in bf16, x as the sum of two bf16
};

/// The fastest way for weights of bf16, and for others.
struct GemmChoice {
  Gemm bf16 = Gemm::own;
  Gemm others = Gemm::own;
};

/// Times every way that this machine has instructions for on one core: about 10 ms. oneDNN must be
/// a tenth faster than our kernels, whose results do not depend on how many tokens come together.
/// Logs what is taken (debug).
GemmChoice measure_gemm(const Kernels& kernels, const Log& log);

}  // namespace runnel::cpu
