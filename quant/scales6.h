// What q4_k and q5_k share: eight parts of 32 values with 6-bit scales and minimums, the pairs in
// 12 bytes. Stateless.
// SOURCE: gguf-py/gguf/quants.py of ggml-org/llama.cpp, class Q4_K (layout comment).
#pragma once
#include <cstdint>

#include "quant/block_io.h"
#include "quant/search.h"

namespace runnel::quant {

/// The best codes 0..last with scales and minimums that fit the 12 bytes.
inline AffineBlock fit_block6(const Samples& samples, int last) {
  return fit_affine_block(samples, 8, last, 63);
}

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
constexpr void pack_scales6(const AffineBlock& pairs, std::uint8_t* bytes) {
  for (int j = 0; j < 4; ++j) {
    bytes[j] = low_byte(pairs.scales[j] | (pairs.scales[j + 4] >> 4) << 6);
    bytes[j + 4] = low_byte(pairs.minimums[j] | (pairs.minimums[j + 4] >> 4) << 6);
    bytes[j + 8] = low_byte((pairs.scales[j + 4] & 15) | (pairs.minimums[j + 4] & 15) << 4);
  }
}

/// dst[k] = d * scale[j] * codes[k] - dmin * minimum[j], j = k / 32, for 256 codes.
inline void decode_parts(
    float d, float dmin, const std::uint8_t* scales, const std::uint8_t* codes, float* dst) {
  const ScalePairs pairs = unpack_scales6(scales);
  for (int j = 0; j < 8; ++j) {
    const float scale = d * static_cast<float>(pairs.scale[j]);
    const float minimum = dmin * static_cast<float>(pairs.minimum[j]);
    for (int k = 32 * j; k < 32 * j + 32; ++k)
      dst[k] = scale * static_cast<float>(codes[k]) - minimum;
  }
}

}  // namespace runnel::quant
