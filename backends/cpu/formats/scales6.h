// What q4_k and q5_k share: f16 d and dmin, 12 bytes of 6-bit scales and minimums for 8 groups of
// 32 values, and at the end of the block 128 bytes of nibbles: groups 2 c and 2 c + 1 are the low
// and the high nibbles of 32 bytes. Value = d * scale[j] * q - dmin * min[j]. SOURCE: ggml
// get_scale_min_k4.
#pragma once
#include "backends/cpu/formats/layout.h"
#include "backends/cpu/formats/nibbles.h"

namespace runnel::cpu::RUNNEL_ISA {

#if RUNNEL_SIMD_BITS == 256
/// The 8 scales and 8 minimums of a superblock that starts with `head`.
static inline __m128i scale_bytes(__m128i head) {
  // Words of head: d and dmin, a, b, c. Words of the result: a c' (scales), b c" (minimums).
  const __m128i low = _mm_srlv_epi32(_mm_shuffle_epi32(head, 0xED), _mm_setr_epi32(0, 0, 0, 4));
  const __m128i high = _mm_srli_epi32(_mm_shuffle_epi32(head, 0xA5), 2);
  return _mm_or_si128(
      _mm_and_si128(low, _mm_setr_epi32(0x3F3F3F3F, 0x0F0F0F0F, 0x3F3F3F3F, 0x0F0F0F0F)),
      _mm_and_si128(high, _mm_setr_epi32(0, 0x30303030, 0, 0x30303030)));
}
#endif

#if RUNNEL_SIMD_BITS == 512
/// scale and min of the groups of two superblocks, eight lanes each.
static inline void pair_scales6(const uint8_t* a, const uint8_t* b, F* scale, F* min) {
  const __m256i heads = _mm256_inserti128_si256(
      _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a))),
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)), 1);
  // As scale_bytes(), of both.
  const __m256i low = _mm256_srlv_epi32(_mm256_shuffle_epi32(heads, 0xED),
                                        _mm256_setr_epi32(0, 0, 0, 4, 0, 0, 0, 4));
  const __m256i high = _mm256_srli_epi32(_mm256_shuffle_epi32(heads, 0xA5), 2);
  const auto mask = [](int first, int second) {
    return _mm256_setr_epi32(first, second, first, second, first, second, first, second);
  };
  const __m256i bytes = _mm256_or_si256(_mm256_and_si256(low, mask(0x3F3F3F3F, 0x0F0F0F0F)),
                                        _mm256_and_si256(high, mask(0, 0x30303030)));
  const __m256i sorted = _mm256_permute4x64_epi64(bytes, 0xD8);  // scales of both, minimums of both
  const F factors = _mm512_cvtph_ps(heads);                      // lanes 0, 1: d, dmin; 8, 9
  const I of_block = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8, 8, 8, 8, 8);
  const F d = _mm512_permutexvar_ps(of_block, factors);
  const F dmin = _mm512_permutexvar_ps(_mm512_add_epi32(of_block, _mm512_set1_epi32(1)), factors);
  const I s = _mm512_cvtepu8_epi32(_mm256_castsi256_si128(sorted));
  const I m = _mm512_cvtepu8_epi32(_mm256_extracti128_si256(sorted, 1));
  *scale = mul(to_float(s), d);
  *min = mul(to_float(_mm512_sub_epi32(_mm512_setzero_si512(), m)), dmin);
}
#endif

/// scale and min of the 16 groups of two superblocks, kStride bytes apart.
template <int64_t kStride>
static inline void scales6(const uint8_t* chunk, float* scale, float* min) {
#if RUNNEL_SIMD_BITS <= 128
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
#elif RUNNEL_SIMD_BITS == 512
  F scales, mins;
  pair_scales6(chunk, chunk + kStride, &scales, &mins);
  store(scale, scales);
  store(min, mins);
#else
  const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(chunk));
  const __m128i second = _mm_loadu_si128(reinterpret_cast<const __m128i*>(chunk + kStride));
  const __m128i a = scale_bytes(first), b = scale_bytes(second);
  const __m128i s = _mm_unpacklo_epi64(a, b), m = _mm_unpackhi_epi64(a, b);
  const __m128 factors = _mm_cvtph_ps(_mm_unpacklo_epi32(first, second));  // d, dmin; d, dmin
  for (int h = 0; h < 2; ++h) {
    const __m128 pair = h ? _mm_movehl_ps(factors, factors) : factors;
    const F d = _mm256_broadcastss_ps(pair), dmin = _mm256_broadcastss_ps(_mm_movehdup_ps(pair));
    const __m128i s8 = h ? _mm_srli_si128(s, 8) : s, m8 = h ? _mm_srli_si128(m, 8) : m;
    store(scale + 8 * h, mul(to_float(_mm256_cvtepu8_epi32(s8)), d));
    store(min + 8 * h,
          mul(to_float(_mm256_sub_epi32(_mm256_setzero_si256(), _mm256_cvtepu8_epi32(m8))), dmin));
  }
#endif
}

/// Constants, scales and nibbles of these formats.
template <int64_t bytes, int most>
struct Block6 : Layout<bytes, 256, 32, 0, true, most> {
  static constexpr int64_t kNibbles = bytes - 128;  // byte offset

  static inline void scales(const uint8_t* chunk, float* scale, float* min) {
    scales6<bytes>(chunk, scale, min);
  }
#if RUNNEL_SIMD_BITS == 512
  static inline void pair_scales(const uint8_t* a, const uint8_t* b, F* scale, F* min) {
    pair_scales6(a, b, scale, min);
    pair_scales6(a + bytes, b + bytes, scale + 1, min + 1);
  }
  /// Of groups 2 c and 2 c + 1 of the block p.
  static inline I low_bits(const uint8_t* p, int c) {
    const I shift = _mm512_setr_epi64(0, 0, 0, 0, 0x0004000400040004, 0x0004000400040004,
                                      0x0004000400040004, 0x0004000400040004);
    const auto* half = reinterpret_cast<const __m256i*>(p + kNibbles + 32 * c);
    const I both = _mm512_broadcast_i64x4(_mm256_loadu_si256(half));
    return _mm512_and_si512(_mm512_srlv_epi16(both, shift), _mm512_set1_epi8(15));
  }
  /// Of the first (half 0) or second halves of the even (odd 0) or odd groups of the block p.
  static inline I low_bits_of_four(const uint8_t* p, int odd, int half) {
    const I a = loaded(p + kNibbles), b = loaded(p + kNibbles + 64);
    const I four = half ? _mm512_shuffle_i64x2(a, b, 0xDD) : _mm512_shuffle_i64x2(a, b, 0x88);
    return half_nibbles(four, odd);
  }
#elif RUNNEL_SIMD_BITS == 256
  /// Of group j of the block p.
  static inline I low_bits(const uint8_t* p, int j) {
    const I both =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + kNibbles + 32 * (j / 2)));
    return _mm256_and_si256(j % 2 ? _mm256_srli_epi16(both, 4) : both, _mm256_set1_epi8(15));
  }
#elif RUNNEL_SIMD_BITS == 128
  /// Of half i % 2 of group i / 2 of the block p.
  static inline uint8x16_t low_bits(const uint8_t* p, int i) {
    const int group = i / 2;
    return half_nibbles(p + kNibbles + group / 2 * 32 + i % 2 * 16, group % 2);
  }
#else
  /// Of value i of the block p.
  static inline int low_bits(const uint8_t* p, int i) {
    const uint8_t pair = p[kNibbles + 32 * (i / 64) + i % 32];
    return i % 64 < 32 ? pair & 15 : pair >> 4;
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
