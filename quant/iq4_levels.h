// The uneven levels of iq4_nl and iq4_xs, and the table that finds the nearest one. Stateless.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "quant/search.h"

namespace runnel::quant {

/// Code -> level: denser around zero, where weights are.
/// SOURCE: kvalues_iq4nl in ggml-common.h of ggml-org/llama.cpp.
inline constexpr std::array<std::int8_t, 16> kIq4Levels = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/// nearest[i]: the code whose level is nearest to every v in [(i - 256) / 2, (i - 255) / 2).
inline constexpr std::array<std::uint8_t, 512> kIq4Nearest = [] {
  std::array<std::uint8_t, 512> nearest{};
  std::size_t code = 0;
  for (std::size_t i = 0; i < 512; ++i) {
    // The next level is as near from its midpoint on; both sides times 2.
    while (code < 15 && static_cast<int>(i) - 256 >= kIq4Levels[code] + kIq4Levels[code + 1])
      ++code;
    nearest[i] = static_cast<std::uint8_t>(code);
  }
  return nearest;
}();

inline constexpr Levels kIq4{-127, 113, kIq4Levels.data(), kIq4Nearest.data()};

}  // namespace runnel::quant
