// Q6_K: 256 values in 210 bytes: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 int8
// scales of 16 values each, f16 d. Value = d * scale * (q - 32).
// SOURCE: ggml block_q6_K; of half h the 64 bytes at 64 h hold values 0..63 (low nibbles) and
// 64..127 (high); the pairs are as in scales16.h.
#pragma once
#include "backends/cpu/formats/scales16.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q6_K : Layout<210, 256, 16, 32, false, 63> {
  static constexpr int kHigh = 128, kScales = 192, kD = 208;  // byte offsets

  static inline void scales(const uint8_t* p, float* scale, float*) {
    scales16(reinterpret_cast<const int8_t*>(p + kScales), f16_value(p + kD), scale);
  }
#if RUNNEL_SIMD_BITS == 512
  static inline void pair_scales(const uint8_t* a, const uint8_t* b, F* scale, F*) {
    const auto at = [](const uint8_t* p) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + kScales));
    };
    pair_scales16(at(a), f16_value(a + kD), at(b), f16_value(b + kD), scale);
  }
  static inline I values(const uint8_t* p, int i) {
    I low = _mm512_loadu_si512(p + 64 * (i / 2));
    if (i % 2) low = _mm512_srli_epi16(low, 4);
    const I pairs = twice(p + kHigh + 32 * (i / 2));  // of each byte bits 0-1, 2-3; 4-5, 6-7
    const I upper = i % 2 ? shift_halves(pairs, 0, 2) : raise_halves(pairs, 4, 2);
    return _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi8(15)),
                           _mm512_and_si512(upper, _mm512_set1_epi8(0x30)));
  }
#elif RUNNEL_SIMD_BITS == 256
  static inline I values(const uint8_t* p, int i) {
    const int half = i / 4, r = i % 4;
    I low = load_32_bytes(p + 64 * half + 32 * (r % 2));
    if (r >= 2) low = _mm256_srli_epi16(low, 4);
    const I upper = _mm256_slli_epi16(bit_pairs(p + kHigh, i), 4);
    return _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi8(15)), upper);
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* p, int i) {
    const int half = i / 8, row = i % 8 / 2, side = i % 2 * 16;
    const uint8x16_t low = half_nibbles(p + 64 * half + row % 2 * 32 + side, row / 2);
    return as_signed(vorrq_u8(low, vshlq_n_u8(bit_pairs(p + kHigh, i), 4)));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    const uint8_t low = p[64 * (i / 128) + i % 64];
    const int nibble = i % 128 < 64 ? low & 15 : low >> 4;
    return static_cast<int8_t>((nibble | bit_pair(p + kHigh, i) << 4) - kOffset);
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
