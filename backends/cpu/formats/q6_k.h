// Q6_K: 256 values in 210 bytes: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 int8
// scales of 16 values each, f16 d. Value = d * scale * (q - 32).
// SOURCE: ggml block_q6_K; of half h the 64 bytes at 64 h hold values 0..63 (low nibbles) and
// 64..127 (high), the 32 bytes at 128 + 32 h hold the upper bits of values r, r + 32, r + 64, r
// + 96.
#pragma once
#include "backends/cpu/formats/scales16.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q6_K {
  static constexpr int64_t kBlockBytes = 210, kBlockValues = 256;
  static constexpr int kGroup = 16, kOffset = 32;
  static constexpr bool kHasMin = false;
  static constexpr int kHigh = 128, kScales = 192, kD = 208;  // byte offsets

  static inline void scales(const uint8_t* p, float* scale, float*) {
    scales16(reinterpret_cast<const int8_t*>(p + kScales), f16_value(p + kD), scale);
  }
#if RUNNEL_SIMD_BITS == 512
  static inline I values(const uint8_t* p, int i) {
    const int half = i / 2, quarter = i % 2;  // of the superblock, of the half
    I low = _mm512_loadu_si512(p + 64 * half);
    if (quarter) low = _mm512_srli_epi16(low, 4);
    const int first = 4 * quarter;
    const I high = shift_halves(twice(p + kHigh + 32 * half), static_cast<int16_t>(first),
                                static_cast<int16_t>(first + 2));
    const I upper = _mm512_slli_epi16(_mm512_and_si512(high, _mm512_set1_epi8(3)), 4);
    return _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi8(15)), upper);
  }
#elif RUNNEL_SIMD_BITS == 256
  static inline I values(const uint8_t* p, int i) {
    const int half = i / 4, r = i % 4;
    I low = load_32_bytes(p + 64 * half + 32 * (r % 2));
    if (r >= 2) low = _mm256_srli_epi16(low, 4);
    const I high = shift_down(load_32_bytes(p + kHigh + 32 * half), 2 * r);
    const I upper = _mm256_slli_epi16(_mm256_and_si256(high, _mm256_set1_epi8(3)), 4);
    return _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi8(15)), upper);
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* p, int i) {
    const int half = i / 8, row = i % 8 / 2, side = i % 2 * 16;
    const uint8x16_t low = half_nibbles(p + 64 * half + row % 2 * 32 + side, row / 2);
    const uint8x16_t high = bits_of(p + kHigh + 32 * half + side, 2 * row, 3);
    return as_signed(vorrq_u8(low, vshlq_n_u8(high, 4)));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    const int half = i / 128, r = i % 128;
    const uint8_t low = p[64 * half + r % 64], high = p[kHigh + 32 * half + r % 32];
    const int nibble = r < 64 ? low & 15 : low >> 4;
    return static_cast<int8_t>((nibble | ((high >> (2 * (r / 32))) & 3) << 4) - kOffset);
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
