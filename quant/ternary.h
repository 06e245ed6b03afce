// The best scale for values -d, 0, d: shared by tq1_0 and tq2_0. Stateless. Internal to quant/.
#pragma once
#include <cstdint>

#include "quant/search.h"

namespace runnel::quant {

/// A block of 256 ternary values.
struct TernaryBlock {
  std::uint16_t d;                // f16, >= 0
  std::uint8_t codes[kMaxBlock];  // 0, 1, 2 for -d, 0, d
};

/// The block with the smallest weighted squared error, up to the rounding of d to f16.
TernaryBlock fit_ternary(const Samples& samples);

}  // namespace runnel::quant
