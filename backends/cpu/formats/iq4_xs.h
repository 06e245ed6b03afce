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

#if RUNNEL_SIMD_BITS <= 128
  static inline void scales(const uint8_t* chunk, float* scale, float*) {
    for (int h = 0; h < 2; ++h, chunk += kBlockBytes, scale += 8) {
      const float d = f16_value(chunk);
      uint16_t upper;
      memcpy(&upper, chunk + 2, sizeof upper);
      for (int j = 0; j < 8; ++j) {
        const int low = (chunk[kLow + j / 2] >> (4 * (j % 2))) & 15;
        scale[j] = d * static_cast<float>((low | ((upper >> (2 * j)) & 3) << 4) - 32);
      }
    }
  }
#else
  /// Of the block p.
  static inline __m256 block_scales(const uint8_t* p) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i low = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(load_32(p + kLow))),
                                          _mm256_slli_epi32(lane, 2));
    const __m256i high = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<uint16_t>(load_16(p + 2))),
                                           _mm256_slli_epi32(lane, 1));
    const __m256i stored =
        _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)),
                        _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(3)), 4));
    const __m256 value = _mm256_cvtepi32_ps(_mm256_sub_epi32(stored, _mm256_set1_epi32(32)));
    return _mm256_mul_ps(value, _mm256_set1_ps(f16_value(p)));
  }
  static inline void scales(const uint8_t* chunk, float* scale, float*) {
    _mm256_storeu_ps(scale, block_scales(chunk));
    _mm256_storeu_ps(scale + 8, block_scales(chunk + kBlockBytes));
  }
#endif
#if RUNNEL_SIMD_BITS == 512
  static inline void pair_scales(const uint8_t* a, const uint8_t* b, F* scale, F*) {
    for (int half = 0; half < 2; ++half, a += kBlockBytes, b += kBlockBytes)
      scale[half] = _mm512_insertf32x8(_mm512_castps256_ps512(block_scales(a)), block_scales(b), 1);
  }
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
