// Tile codecs of the formats with few levels: a format gives its levels and how the codes of the 16
// vectors of a tile are packed.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "quant/half.h"
#include "quant/kv_tile.h"

namespace runnel::quant {

/// Codes of a tile by kv_place().
struct KvCodes {
  std::uint8_t code[kKvTileCodes];
};

inline KvCodes encode_kv_codes(KvRole role,
                               const KvLevels& levels,
                               const float* x,
                               std::uint16_t* scales) {
  KvCodes codes;
  for (int t = 0; t < kKvTileTokens; ++t) {
    const KvVector vector = encode_kv_levels(x + t * kKvChannels, levels);
    scales[t] = vector.scale;
    for (int i = 0; i < kKvChannels; ++i) codes.code[kv_place(role, t, i)] = vector.codes[i];
  }
  return codes;
}

inline void decode_kv_codes(KvRole role,
                            const KvLevels& levels,
                            const KvCodes& codes,
                            const std::uint16_t* scales,
                            float* x) {
  for (int t = 0; t < kKvTileTokens; ++t)
    for (int i = 0; i < kKvChannels; ++i)
      *x++ = f16_to_f32(scales[t]) *
             static_cast<float>(kv_level(levels, codes.code[kv_place(role, t, i)]));
}

/// Packs `bits` low bits of vectors [per * j, per * (j + 1)) into bytes of vector j, the first
/// vector lowest, per = 8 / bits; unpack is the reverse and adds them at bit `shift`.
inline void pack_kv_plane(const KvCodes& codes, int bits, int shift, std::byte* to) {
  const int per = 8 / bits, mask = (1 << bits) - 1;
  for (int v = 0; v < kKvVectors; ++v)
    for (int b = 0; b < kKvVectorBytes; ++b) {
      std::byte& byte = to[v / per * kKvVectorBytes + b];
      if (v % per == 0) byte = std::byte{0};
      byte |= static_cast<std::byte>((codes.code[v * kKvVectorBytes + b] >> shift & mask)
                                     << (v % per * bits));
    }
}
inline void unpack_kv_plane(const std::byte* from, int bits, int shift, KvCodes& codes) {
  const int per = 8 / bits, mask = (1 << bits) - 1;
  for (int v = 0; v < kKvVectors; ++v)
    for (int b = 0; b < kKvVectorBytes; ++b) {
      const int byte = std::to_integer<int>(from[v / per * kKvVectorBytes + b]);
      codes.code[v * kKvVectorBytes + b] |=
          static_cast<std::uint8_t>((byte >> (v % per * bits) & mask) << shift);
    }
}

}  // namespace runnel::quant
