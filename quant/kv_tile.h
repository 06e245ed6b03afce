// How the codes of a tile lie in memory. The 16 x 64 codes of a tile form 16 vectors of 64 bytes:
//   K: vector channel / 4,                    byte 4 * token + channel % 4
//   V: vector 4 * (channel / 16) + token / 4, byte 4 * (channel % 16) + token % 4
// so that four bytes side by side are multiplied by four values of a query (K: four channels of one
// token) or by four weights (V: four tokens of one channel), without sums across a register.
// Formats of fewer than 8 bits put several vectors into one; where is said in their files.
#pragma once
#include <cstddef>
#include <cstdint>

#include "quant/kv_format.h"

namespace runnel::quant {

inline constexpr int kKvVectors = 16;      // of a tile
inline constexpr int kKvVectorBytes = 64;  // a code in each
inline constexpr int kKvTileCodes = kKvVectors * kKvVectorBytes;

/// Where the code of (token, channel) is among the 1024 of a tile: 64 * vector + byte.
constexpr int kv_place(KvRole role, int token, int channel) {
  return role == KvRole::k
             ? kKvVectorBytes * (channel / 4) + 4 * token + channel % 4
             : kKvVectorBytes * (4 * (channel / 16) + token / 4) + 4 * (channel % 16) + token % 4;
}

/// Codes of one vector in channel order, and its scale (f16).
struct KvVector {
  std::uint8_t codes[kKvChannels];
  std::uint16_t scale;
};

/// Levels of a format symmetric about 0: code n/2 + i is levels[i], code n/2 - 1 - i is -levels[i].
struct KvLevels {
  int n;       // levels of one sign
  float unit;  // largest level of the Gaussian codebook; levels are scaled to 127
  std::int8_t level[8];
};

/// Codes and scale with the least squared error among six spreads of the levels; the scale of each
/// is refitted by least squares. All arithmetic is single IEEE operations in one order, so that
/// every implementation gives the same bits. NaN and infinities count as 65504.
/// SOURCE: Lloyd, IEEE Trans. Inf. Theory 28 (1982), for the levels.
KvVector encode_kv_levels(const float* x, const KvLevels& levels);

/// Levels of a code, by code.
inline int kv_level(const KvLevels& levels, int code) {
  return code >= levels.n ? levels.level[code - levels.n] : -levels.level[levels.n - 1 - code];
}

}  // namespace runnel::quant
