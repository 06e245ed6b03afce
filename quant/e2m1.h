// The 4-bit float E2M1 of mxfp4 and nvfp4. Stateless.
#pragma once
#include <array>
#include <cstdint>

namespace runnel::quant {

/// Code -> twice its value: sign bit, two exponent bits, one mantissa bit.
/// SOURCE: OCP Microscaling Formats specification v1.0, section 5.3.3; doubled to be whole.
inline constexpr std::array<std::int8_t, 16> kE2m1Doubled = {0, 1,  2,  3,  4,  6,  8,  12,
                                                             0, -1, -2, -3, -4, -6, -8, -12};

}  // namespace runnel::quant
