// Q2_K: 256 values in 84 bytes: 16 bytes with the 4-bit scale (low) and minimum (high) of 16 values
// each, 64 bytes of bit pairs as in scales16.h, f16 d and dmin. Value = d * scale * q - dmin * min.
// SOURCE: ggml block_q2_K.
#pragma once
#include "backends/cpu/formats/scales16.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q2_K : Layout<84, 256, 16, 0, true, 3> {
  static constexpr int kPairs = 16, kD = 80;  // byte offsets

  static inline void scales(const uint8_t* p, float* scale, float* min) {
#if RUNNEL_SIMD_BITS <= 128
    int8_t s[16], m[16];
    for (int j = 0; j < 16; ++j) {
      s[j] = static_cast<int8_t>(p[j] & 15);
      m[j] = static_cast<int8_t>(p[j] >> 4);
    }
#else
    const __m128i both = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i s = _mm_and_si128(both, _mm_set1_epi8(15));
    const __m128i m = _mm_and_si128(_mm_srli_epi16(both, 4), _mm_set1_epi8(15));
#endif
    scales16(s, f16_value(p + kD), scale);
    scales16(m, -f16_value(p + kD + 2), min);
  }
#if RUNNEL_SIMD_BITS >= 256
  static inline I values(const uint8_t* p, int i) {
    return bit_pairs(p + kPairs, i);
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* p, int i) {
    return as_signed(bit_pairs(p + kPairs, i));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    return static_cast<int8_t>(bit_pair(p + kPairs, i));
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
