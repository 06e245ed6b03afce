// What the formats with 32-value blocks share: f16 d and perhaps m at the start of each block, then
// perhaps a fifth bit per value, then the values or their nibbles.
#pragma once
#include "backends/cpu/formats/layout.h"
#include "backends/cpu/formats/nibbles.h"

namespace runnel::cpu::RUNNEL_ISA {

#if RUNNEL_SIMD_BITS >= 256
/// The f16 at the start of each of eight blocks that are kStride bytes apart.
template <int64_t kStride>
static inline __m128i eight_factors(const uint8_t* p) {
#if RUNNEL_SIMD_BITS == 512
  if constexpr (kStride == 18) {  // all are within 64 words
    const I each = _mm512_castsi128_si512(_mm_setr_epi16(0, 9, 18, 27, 36, 45, 54, 63));
    return _mm512_castsi512_si128(
        _mm512_permutex2var_epi16(_mm512_loadu_si512(p), each, _mm512_loadu_si512(p + 64)));
  }
#endif
  return _mm_setr_epi16(load_16(p), load_16(p + kStride), load_16(p + 2 * kStride),
                        load_16(p + 3 * kStride), load_16(p + 4 * kStride),
                        load_16(p + 5 * kStride), load_16(p + 6 * kStride),
                        load_16(p + 7 * kStride));
}
#endif
#if RUNNEL_SIMD_BITS == 512
/// The same of eight blocks at a, then of eight at b.
template <int64_t kStride>
static inline F sixteen_factors(const uint8_t* a, const uint8_t* b) {
  return _mm512_cvtph_ps(_mm256_set_m128i(eight_factors<kStride>(b), eight_factors<kStride>(a)));
}
#endif

/// The f16 at the start of each of 16 blocks that are kStride bytes apart.
template <int64_t kStride>
static inline void block_factors(const uint8_t* first, float* factor) {
#if RUNNEL_SIMD_BITS == 0
  for (int j = 0; j < 16; ++j) factor[j] = f16_value(first + j * kStride);
#elif RUNNEL_SIMD_BITS == 128
  for (int j = 0; j < 16; j += 4, first += 4 * kStride) {
    const int16x4_t four = {load_16(first), load_16(first + kStride), load_16(first + 2 * kStride),
                            load_16(first + 3 * kStride)};
    store(factor + j, vcvt_f32_f16(vreinterpret_f16_s16(four)));
  }
#elif RUNNEL_SIMD_BITS == 256
  for (int j = 0; j < 16; j += 8, first += 8 * kStride)
    store(factor + j, _mm256_cvtph_ps(eight_factors<kStride>(first)));
#else
  store(factor, sixteen_factors<kStride>(first, first + 8 * kStride));
#endif
}

/// Base of these formats: constants and scales.
template <int64_t bytes, int offset, bool has_min, int most>
struct Block32 : Layout<bytes, 32, 32, offset, has_min, most> {
  static constexpr int64_t kData = has_min ? 4 : 2;  // byte offset of what follows the factors

  static inline void scales(const uint8_t* chunk, float* scale, float* min) {
    block_factors<bytes>(chunk, scale);
    if constexpr (has_min) block_factors<bytes>(chunk + 2, min);
  }
#if RUNNEL_SIMD_BITS == 512
  static inline void pair_scales(const uint8_t* a, const uint8_t* b, F* scale, F* min) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half, a += 8 * bytes, b += 8 * bytes) {
      scale[half] = sixteen_factors<bytes>(a, b);
      if constexpr (has_min) min[half] = sixteen_factors<bytes>(a + 2, b + 2);
    }
  }
#endif
};

/// Formats whose block ends with the nibbles of its values: q is a nibble.
template <int64_t bytes, int offset, bool has_min>
struct NibbleBlock : Block32<bytes, offset, has_min, 15> {
  static constexpr int64_t kNibbles = bytes - 16;  // byte offset

#if RUNNEL_SIMD_BITS == 512
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + 2 * i * bytes + kNibbles;
    return nibble_pair(p, p + bytes);
  }
  static inline I split(const uint8_t* chunk, int i) {
    return half_nibbles(four_blocks<bytes>(chunk + i / 2 * 4 * bytes + kNibbles), i % 2);
  }
#elif RUNNEL_SIMD_BITS == 256
  static inline I values(const uint8_t* chunk, int i) {
    return nibbles(chunk + i * bytes + kNibbles);
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* chunk, int i) {
    return as_signed(half_nibbles(chunk + i / 2 * bytes + kNibbles, i % 2));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    return static_cast<int8_t>(nibble(p + kNibbles, i) - offset);
  }
#endif
};

/// The same with four bytes of fifth bits before the nibbles: bit i belongs to value i.
template <int64_t bytes, int offset, bool has_min>
struct FifthBitBlock : Block32<bytes, offset, has_min, 31> {
  static constexpr int64_t kNibbles = bytes - 16, kFifths = kNibbles - 4;  // byte offsets

#if RUNNEL_SIMD_BITS == 512
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + 2 * i * bytes;
    const auto bits = static_cast<__mmask64>(load_32(p + kFifths)) |
                      static_cast<__mmask64>(load_32(p + bytes + kFifths)) << 32;
    const I low = nibble_pair(p + kNibbles, p + bytes + kNibbles);
    return _mm512_mask_add_epi8(low, bits, low, _mm512_set1_epi8(16));
  }
#elif RUNNEL_SIMD_BITS == 256
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + i * bytes;
    return _mm256_or_si256(nibbles(p + kNibbles), fifth_bits(p + kFifths));
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + i / 2 * bytes;
    return as_signed(
        vorrq_u8(half_nibbles(p + kNibbles, i % 2), fifth_bits(p + kFifths + i % 2 * 2)));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    const int fifth = (p[kFifths + i / 8] >> (i % 8)) & 1;
    return static_cast<int8_t>((nibble(p + kNibbles, i) | fifth << 4) - offset);
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
