// The 12 bytes that hold eight 6-bit (scale, minimum) pairs in q4_k and q5_k. Stateless.
// SOURCE: gguf-py/gguf/quants.py of ggml-org/llama.cpp, class Q4_K (layout comment).
#pragma once
#include <cstdint>

#include "quant/block_io.h"

namespace runnel::quant {

/// Eight pairs as plain bytes, each below 64.
struct ScalePairs {
  std::uint8_t scale[8];
  std::uint8_t minimum[8];
};

/// Pairs 0..3 lie in the low six bits of bytes 0..3 (scale) and 4..7 (minimum). Pairs 4..7 have
/// their low four bits in bytes 8..11 (scale below, minimum above) and their high two bits on top
/// of bytes 0..3 and 4..7.
constexpr ScalePairs unpack_scales6(const std::uint8_t* bytes) {
  ScalePairs pairs{};
  for (int j = 0; j < 4; ++j) {
    pairs.scale[j] = bytes[j] & 63;
    pairs.minimum[j] = bytes[j + 4] & 63;
    pairs.scale[j + 4] = low_byte((bytes[j + 8] & 15) | (bytes[j] >> 6) << 4);
    pairs.minimum[j + 4] = low_byte(bytes[j + 8] >> 4 | (bytes[j + 4] >> 6) << 4);
  }
  return pairs;
}

/// Undoes unpack_scales6.
constexpr void pack_scales6(const ScalePairs& pairs, std::uint8_t* bytes) {
  for (int j = 0; j < 4; ++j) {
    bytes[j] = low_byte(pairs.scale[j] | (pairs.scale[j + 4] >> 4) << 6);
    bytes[j + 4] = low_byte(pairs.minimum[j] | (pairs.minimum[j + 4] >> 4) << 6);
    bytes[j + 8] = low_byte((pairs.scale[j + 4] & 15) | (pairs.minimum[j + 4] & 15) << 4);
  }
}

}  // namespace runnel::quant
