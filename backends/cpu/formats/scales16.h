// What the formats with 16 int8 scales per superblock share: scale[j] = d * s[j], and 64 bytes of
// bit pairs: pair (n % 128) / 32 of byte 32 (n / 128) + n % 32 belongs to value n.
#pragma once
#include "backends/cpu/formats/layout.h"
#include "backends/cpu/formats/nibbles.h"
#include "backends/cpu/isa/simd.h"

namespace runnel::cpu::RUNNEL_ISA {

#if RUNNEL_SIMD_BITS <= 128
static inline void scales16(const int8_t* s, float d, float* scale) {
  for (int j = 0; j < 16; ++j) scale[j] = d * static_cast<float>(s[j]);
}
#elif RUNNEL_SIMD_BITS == 512
static inline void scales16(__m128i s, float d, float* scale) {
  store(scale, mul(to_float(_mm512_cvtepi8_epi32(s)), set1(d)));
}
#else
static inline void scales16(__m128i s, float d, float* scale) {
  const __m128i halves[2] = {s, _mm_srli_si128(s, 8)};
  for (int h = 0; h < 2; ++h)
    _mm256_storeu_ps(
        scale + 8 * h,
        _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(halves[h])), _mm256_set1_ps(d)));
}
#endif
#if RUNNEL_SIMD_BITS >= 256
static inline void scales16(const int8_t* s, float d, float* scale) {
  scales16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(s)), d, scale);
}
#endif

#if RUNNEL_SIMD_BITS == 512
/// The scales of two superblocks: 0..7 of both, then 8..15 of both.
static inline void pair_scales16(__m128i a, float d_of_a, __m128i b, float d_of_b, F* scale) {
  const F d = _mm512_insertf32x8(set1(d_of_a), _mm256_set1_ps(d_of_b), 1);
  scale[0] = mul(to_float(_mm512_cvtepi8_epi32(_mm_unpacklo_epi64(a, b))), d);
  scale[1] = mul(to_float(_mm512_cvtepi8_epi32(_mm_unpackhi_epi64(a, b))), d);
}
/// 16-bit words shifted down by `low` in the lower half of the register and by `high` in the upper.
static inline I shift_halves(I words, int16_t low, int16_t high) {
  return _mm512_srlv_epi16(words, joined(_mm256_set1_epi16(low), _mm256_set1_epi16(high)));
}
/// The same, up.
static inline I raise_halves(I words, int16_t low, int16_t high) {
  return _mm512_sllv_epi16(words, joined(_mm256_set1_epi16(low), _mm256_set1_epi16(high)));
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

#if RUNNEL_SIMD_BITS == 512
/// The bit pairs of 64 values from 64 i on; p: the superblock's pairs.
static inline I bit_pairs(const uint8_t* p, int i) {
  const auto first = static_cast<int16_t>(4 * (i % 2));
  const I pairs = shift_halves(twice(p + 32 * (i / 2)), first, static_cast<int16_t>(first + 2));
  return _mm512_and_si512(pairs, _mm512_set1_epi8(3));
}
#elif RUNNEL_SIMD_BITS == 256
/// The bit pairs of 32 values from 32 i on; p: the superblock's pairs.
static inline I bit_pairs(const uint8_t* p, int i) {
  return _mm256_and_si256(shift_down(load_32_bytes(p + 32 * (i / 4)), 2 * (i % 4)),
                          _mm256_set1_epi8(3));
}
#elif RUNNEL_SIMD_BITS == 128
/// The bit pairs of 16 values from 16 i on; p: the superblock's pairs.
static inline uint8x16_t bit_pairs(const uint8_t* p, int i) {
  return bits_of(p + i / 8 * 32 + i % 2 * 16, i % 8 / 2 * 2, 3);
}
#else
/// The bit pair of value i; p: the superblock's pairs.
static inline int bit_pair(const uint8_t* p, int i) {
  return (p[32 * (i / 128) + i % 32] >> (2 * ((i % 128) / 32))) & 3;
}
#endif

}  // namespace runnel::cpu::RUNNEL_ISA
