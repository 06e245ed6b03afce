// IQ4_XS: 256 values in 136 bytes: f16 d, upper pairs and low nibbles of eight 6-bit scales (+ 32),
// 128 bytes of nibbles. Value = d * scale * level[nibble]. SOURCE: ggml block_iq4_xs; of group j of
// 32 values the 16 bytes at 8 + 16 j hold the first 16 in their low nibbles and the last 16 in
// their high ones.
#pragma once
#include "backends/cpu/formats/layout.h"
#include "backends/cpu/formats/levels.h"
#include "backends/cpu/formats/nibbles.h"

namespace runnel::cpu::RUNNEL_ISA {

struct IQ4_XS : Layout<136, 256, 32, 128, false> {
  static constexpr int kLow = 4, kNibbles = 8;  // byte offsets

  static inline void scales(const uint8_t* chunk, float* scale, float*) {
#if RUNNEL_SIMD_BITS == 512
    const uint8_t* next = chunk + kBlockBytes;
    const auto word = [](uint32_t first, uint32_t second) {
      return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set1_epi32(static_cast<int>(first))),
                                _mm256_set1_epi32(static_cast<int>(second)), 1);
    };
    const I lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
    const I low = _mm512_srlv_epi32(word(load_32(chunk + kLow), load_32(next + kLow)),
                                    _mm512_slli_epi32(lane, 2));
    const I high = _mm512_srlv_epi32(word(load_32(chunk) >> 16, load_32(next) >> 16),
                                     _mm512_slli_epi32(lane, 1));
    const I stored =
        _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi32(15)),
                        _mm512_slli_epi32(_mm512_and_si512(high, _mm512_set1_epi32(3)), 4));
    const F d = _mm512_insertf32x8(set1(f16_value(chunk)), _mm256_set1_ps(f16_value(next)), 1);
    store(scale, mul(to_float(_mm512_sub_epi32(stored, _mm512_set1_epi32(32))), d));
#else
    for (int h = 0; h < 2; ++h, chunk += kBlockBytes, scale += 8) {
      const float d = f16_value(chunk);
#if RUNNEL_SIMD_BITS <= 128
      uint16_t upper;
      memcpy(&upper, chunk + 2, sizeof upper);
      for (int j = 0; j < 8; ++j) {
        const int low = (chunk[kLow + j / 2] >> (4 * (j % 2))) & 15;
        scale[j] = d * static_cast<float>((low | ((upper >> (2 * j)) & 3) << 4) - 32);
      }
#else
      const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
      const __m256i low = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(load_32(chunk + 4))),
                                            _mm256_slli_epi32(lane, 2));
      const __m256i high = _mm256_srlv_epi32(
          _mm256_set1_epi32(static_cast<uint16_t>(load_16(chunk + 2))), _mm256_slli_epi32(lane, 1));
      const __m256i stored =
          _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)),
                          _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(3)), 4));
      const __m256 value = _mm256_cvtepi32_ps(_mm256_sub_epi32(stored, _mm256_set1_epi32(32)));
      _mm256_storeu_ps(scale, _mm256_mul_ps(value, _mm256_set1_ps(d)));
#endif
    }
#endif
  }
#if RUNNEL_SIMD_BITS == 512
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + i / 4 * kBlockBytes + kNibbles + 32 * (i % 4);
    return levels_of(nibble_pair(p, p + 16));
  }
  static inline I split(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + i / 4 * kBlockBytes + kNibbles + i / 2 % 2 * 64;
    return levels_of(half_nibbles(_mm512_loadu_si512(p), i % 2));
  }
#elif RUNNEL_SIMD_BITS == 256
  static inline I values(const uint8_t* chunk, int i) {
    return levels_of(nibbles(chunk + i / 8 * kBlockBytes + kNibbles + 16 * (i % 8)));
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + i / 16 * kBlockBytes + kNibbles + i % 16 / 2 * 16;
    return levels_of(as_signed(half_nibbles(p, i % 2)));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    return kLevels[nibble(p + kNibbles + 16 * (i / 32), i % 32)];
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
