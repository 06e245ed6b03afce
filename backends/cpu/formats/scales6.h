// What q4_k and q5_k share: f16 d and dmin, then 12 bytes of 6-bit scales and minimums for 8 groups
// of 32 values. Value = d * scale[j] * q - dmin * min[j]. SOURCE: ggml get_scale_min_k4.
#pragma once
#include "backends/cpu/formats/nibbles.h"

namespace runnel::cpu::RUNNEL_ISA {

/// scale and min of the 16 groups of two superblocks, kStride bytes apart.
template <int64_t kStride>
static inline void scales6(const uint8_t* chunk, float* scale, float* min) {
#if RUNNEL_SIMD_BITS == 0
  for (int h = 0; h < 2; ++h, chunk += kStride, scale += 8, min += 8) {
    const uint32_t a = load_32(chunk + 4), b = load_32(chunk + 8), c = load_32(chunk + 12);
    const uint32_t scales[2] = {a & 0x3F3F3F3Fu, (c & 0x0F0F0F0Fu) | ((a >> 2) & 0x30303030u)};
    const uint32_t mins[2] = {b & 0x3F3F3F3Fu, ((c >> 4) & 0x0F0F0F0Fu) | ((b >> 2) & 0x30303030u)};
    const float d = f16_value(chunk), dmin = -f16_value(chunk + 2);
    uint8_t s[8], m[8];
    memcpy(s, scales, 8);
    memcpy(m, mins, 8);
    for (int j = 0; j < 8; ++j) {
      scale[j] = d * static_cast<float>(s[j]);
      min[j] = dmin * static_cast<float>(m[j]);
    }
  }
#else
  for (int h = 0; h < 2; ++h, chunk += kStride, scale += 8, min += 8) {
    // Words: d and dmin, a, b, c. Result: bytes of a c' (scales), b c'' (minimums).
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(chunk));
    const __m128i low = _mm_srlv_epi32(_mm_shuffle_epi32(v, 0xED), _mm_setr_epi32(0, 0, 0, 4));
    const __m128i high = _mm_srli_epi32(_mm_shuffle_epi32(v, 0xA5), 2);
    const __m128i bytes = _mm_or_si128(
        _mm_and_si128(low, _mm_setr_epi32(0x3F3F3F3F, 0x0F0F0F0F, 0x3F3F3F3F, 0x0F0F0F0F)),
        _mm_and_si128(high, _mm_setr_epi32(0, 0x30303030, 0, 0x30303030)));
    const __m128 factors = _mm_cvtph_ps(v);
    const __m256 s = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
    const __m256 m = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)));
    const __m256 dmin = _mm256_broadcastss_ps(_mm_movehdup_ps(factors));
    _mm256_storeu_ps(scale, _mm256_mul_ps(s, _mm256_broadcastss_ps(factors)));
    _mm256_storeu_ps(min, _mm256_mul_ps(m, _mm256_sub_ps(_mm256_setzero_ps(), dmin)));
  }
#endif
}

#if RUNNEL_SIMD_BITS == 512
/// Values of groups 2 c and 2 c + 1: the low and the high nibbles of 32 bytes.
static inline I low_and_high(const uint8_t* p) {
  const I shift = _mm512_setr_epi64(0, 0, 0, 0, 0x0004000400040004, 0x0004000400040004,
                                    0x0004000400040004, 0x0004000400040004);
  const I bytes = _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_and_si512(_mm512_srlv_epi16(bytes, shift), _mm512_set1_epi8(15));
}
#elif RUNNEL_SIMD_BITS == 256
/// The low (half 0) or high nibbles of 32 bytes.
static inline I low_or_high(const uint8_t* p, int half) {
  const I bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm256_and_si256(half ? _mm256_srli_epi16(bytes, 4) : bytes, _mm256_set1_epi8(15));
}
#endif

}  // namespace runnel::cpu::RUNNEL_ISA
