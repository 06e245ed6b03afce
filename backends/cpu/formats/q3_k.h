// Q3_K: 256 values in 110 bytes: 32 bytes of high bits, 64 bytes of low bit pairs as in scales16.h,
// 12 bytes of 6-bit scales (+ 32) of 16 values each, f16 d. Value = d * scale * (q - 4). SOURCE:
// ggml block_q3_K; bit n / 32 of high byte n % 32 belongs to value n. Scale j: low nibble (j < 8)
// or high nibble of byte j % 8, upper bits in pair j / 4 of byte 8 + j % 4.
#pragma once
#include "backends/cpu/formats/scales16.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q3_K : Layout<110, 256, 16, 4, false> {
  static constexpr int kLow = 32, kScales = 96, kD = 108;  // byte offsets

  static inline void scales(const uint8_t* p, float* scale, float*) {
    uint32_t a[3], s[4];
    memcpy(a, p + kScales, sizeof a);
    const uint32_t nibble = 0x0F0F0F0Fu, pair = 0x03030303u;
    s[0] = (a[0] & nibble) | ((a[2] & pair) << 4);
    s[1] = (a[1] & nibble) | (((a[2] >> 2) & pair) << 4);
    s[2] = ((a[0] >> 4) & nibble) | (((a[2] >> 4) & pair) << 4);
    s[3] = ((a[1] >> 4) & nibble) | (((a[2] >> 6) & pair) << 4);
#if RUNNEL_SIMD_BITS <= 128
    int8_t scales[16];
    memcpy(scales, s, sizeof s);
    for (int j = 0; j < 16; ++j) scales[j] = static_cast<int8_t>(scales[j] - 32);
    scales16(scales, f16_value(p + kD), scale);
#else
    const __m128i stored = _mm_setr_epi32(static_cast<int>(s[0]), static_cast<int>(s[1]),
                                          static_cast<int>(s[2]), static_cast<int>(s[3]));
    scales16(_mm_sub_epi8(stored, _mm_set1_epi8(32)), f16_value(p + kD), scale);
#endif
  }
#if RUNNEL_SIMD_BITS == 512
  static inline I values(const uint8_t* p, int i) {
    const auto row = static_cast<int16_t>(2 * i);
    const I high = shift_halves(twice(p), row, static_cast<int16_t>(row + 1));
    return _mm512_or_si512(bit_pairs(p + kLow, i),
                           _mm512_slli_epi16(_mm512_and_si512(high, _mm512_set1_epi8(1)), 2));
  }
#elif RUNNEL_SIMD_BITS == 256
  static inline I values(const uint8_t* p, int i) {
    const I high = shift_down(load_32_bytes(p), i);
    return _mm256_or_si256(bit_pairs(p + kLow, i),
                           _mm256_slli_epi16(_mm256_and_si256(high, _mm256_set1_epi8(1)), 2));
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* p, int i) {
    const uint8x16_t high = bits_of(p + i % 2 * 16, i / 2, 1);
    return as_signed(vorrq_u8(bit_pairs(p + kLow, i), vshlq_n_u8(high, 2)));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    const int high = (p[i % 32] >> (i / 32)) & 1;
    return static_cast<int8_t>((bit_pair(p + kLow, i) | high << 2) - kOffset);
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
