// What the formats with 16 int8 scales per superblock share: scale[j] = d * s[j].
#pragma once
#include "backends/cpu/isa/simd.h"

namespace runnel::cpu::RUNNEL_ISA {

#if RUNNEL_SIMD_BITS <= 128
static inline void scales16(const int8_t* s, float d, float* scale) {
  for (int j = 0; j < 16; ++j) scale[j] = d * static_cast<float>(s[j]);
}
#else
static inline void scales16(__m128i s, float d, float* scale) {
  const __m128i halves[2] = {s, _mm_srli_si128(s, 8)};
  for (int h = 0; h < 2; ++h)
    _mm256_storeu_ps(
        scale + 8 * h,
        _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(halves[h])), _mm256_set1_ps(d)));
}
static inline void scales16(const int8_t* s, float d, float* scale) {
  scales16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(s)), d, scale);
}
#endif

#if RUNNEL_SIMD_BITS == 512
/// 64 bits of `words` shifted by `low` in the lower half of the register and `high` in the upper.
static inline I shift_halves(I words, int16_t low, int16_t high) {
  const I shift = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set1_epi16(low)),
                                     _mm256_set1_epi16(high), 1);
  return _mm512_srlv_epi16(words, shift);
}
static inline I twice(const uint8_t* p) {
  return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
#elif RUNNEL_SIMD_BITS == 256
static inline I load_32_bytes(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
static inline I shift_down(I words, int bits) {
  return _mm256_srl_epi16(words, _mm_cvtsi32_si128(bits));
}
#elif RUNNEL_SIMD_BITS == 128
/// 16 bytes of which only the lowest bits, `mask`, are wanted after a shift.
static inline uint8x16_t bits_of(const uint8_t* p, int shift, uint8_t mask) {
  return vandq_u8(vshlq_u8(vld1q_u8(p), vdupq_n_s8(static_cast<int8_t>(-shift))), vdupq_n_u8(mask));
}
#endif

}  // namespace runnel::cpu::RUNNEL_ISA
