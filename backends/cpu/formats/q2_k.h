// Q2_K: 256 values in 84 bytes: 16 bytes with the 4-bit scale (low) and minimum (high) of 16 values
// each, 64 bytes of bit pairs, f16 d and dmin. Value = d * scale * q - dmin * min. SOURCE: ggml
// block_q2_K; pair (n % 128) / 32 of byte 32 (n / 128) + n % 32 belongs to value n.
#pragma once
#include "backends/cpu/formats/scales16.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q2_K {
  static constexpr int64_t kBlockBytes = 84, kBlockValues = 256;
  static constexpr int kGroup = 16, kOffset = 0;
  static constexpr bool kHasMin = true;
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
#if RUNNEL_SIMD_BITS == 512
  static inline I values(const uint8_t* p, int i) {
    const auto pair = static_cast<int16_t>(4 * (i % 2));
    return _mm512_and_si512(
        shift_halves(twice(p + kPairs + 32 * (i / 2)), pair, static_cast<int16_t>(pair + 2)),
        _mm512_set1_epi8(3));
  }
#elif RUNNEL_SIMD_BITS == 256
  static inline I values(const uint8_t* p, int i) {
    return _mm256_and_si256(shift_down(load_32_bytes(p + kPairs + 32 * (i / 4)), 2 * (i % 4)),
                            _mm256_set1_epi8(3));
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* p, int i) {
    return as_signed(bits_of(p + kPairs + i / 8 * 32 + i % 2 * 16, i % 8 / 2 * 2, 3));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    return static_cast<int8_t>((p[kPairs + 32 * (i / 128) + i % 32] >> (2 * ((i % 128) / 32))) & 3);
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
