#include "quant/half.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace runnel::quant {
namespace {

// binary16 by its definition, in double.
double f16_by_definition(int bits) {
  const double sign = (bits >> 15) != 0 ? -1.0 : 1.0;
  const int exponent = bits >> 10 & 31;
  const int mantissa = bits & 1023;
  if (exponent == 31)
    return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

TEST_CASE("f16, EveryPatternHasItsValueAndComesBack") {
  int wrong = 0;
  for (int bits = 0; bits < 65536; ++bits) {
    const double expected = f16_by_definition(bits);
    const float value = f16_to_f32(static_cast<std::uint16_t>(bits));
    const int back = f32_to_f16(value);
    if (std::isnan(expected)) {
      wrong += !std::isnan(value) || !std::isnan(f16_by_definition(back));
    } else {
      wrong += static_cast<double>(value) != expected || back != bits;
      wrong += std::signbit(value) != std::signbit(expected);
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("f16, RoundsToNearestWithTiesToEven") {
  int wrong = 0;
  for (int bits = 0; bits < 0x7BFF; ++bits) {  // every positive finite pair of neighbours
    const double low = f16_by_definition(bits);
    const double high = f16_by_definition(bits + 1);
    const auto middle = static_cast<float>((low + high) / 2);
    const int even = bits % 2 == 0 ? bits : bits + 1;
    wrong += f32_to_f16(middle) != even;
    wrong += f32_to_f16(-middle) != (even | 0x8000);
    wrong += f32_to_f16(std::nextafter(middle, 0.0f)) != bits;
    wrong += f32_to_f16(std::nextafter(middle, 1e9f)) != bits + 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("f16, OverflowsToInfinityFromTheMidpointOn") {
  CHECK(f32_to_f16(65504.0f) == 0x7BFF);
  CHECK(f32_to_f16(std::nextafter(65520.0f, 0.0f)) == 0x7BFF);
  CHECK(f32_to_f16(65520.0f) == 0x7C00);
  CHECK(f32_to_f16(-1e30f) == 0xFC00);
  CHECK(f32_to_f16(std::numeric_limits<float>::infinity()) == 0x7C00);
  CHECK(f32_to_f16(1e-45f) == 0);
  CHECK(f32_to_f16(-1e-45f) == 0x8000);
}

TEST_CASE("bf16, EveryPatternHasItsValueAndComesBack") {
  int wrong = 0;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = bf16_to_f32(static_cast<std::uint16_t>(bits));
    const std::uint32_t back = f32_to_bf16(value);
    if (std::isnan(value)) {
      wrong += !std::isnan(bf16_to_f32(static_cast<std::uint16_t>(back)));
    } else {
      wrong += std::bit_cast<std::uint32_t>(value) != bits << 16 || back != bits;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("bf16, RoundsToNearestWithTiesToEven") {
  CHECK(f32_to_bf16(1.0f) == 0x3F80);
  CHECK(f32_to_bf16(1.0f + 0x1p-8f) == 0x3F80);             // tie, down to even
  CHECK(f32_to_bf16(1.0f + 0x1p-8f + 0x1p-20f) == 0x3F81);  // above the tie
  CHECK(f32_to_bf16(1.0f + 3 * 0x1p-8f) == 0x3F82);         // tie, up to even
  CHECK(f32_to_bf16(-1.0f - 3 * 0x1p-8f) == 0xBF82);        // and for negative values
  CHECK(f32_to_bf16(std::numeric_limits<float>::max()) == 0x7F80);
  CHECK(std::isnan(bf16_to_f32(f32_to_bf16(std::bit_cast<float>(0x7F800001u)))));
}

}  // namespace
}  // namespace runnel::quant
