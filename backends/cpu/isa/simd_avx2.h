// AVX2 with FMA and F16C, perhaps vpdpbusd: 8 floats or 32 int8 values.
#pragma once
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

namespace runnel::cpu::RUNNEL_ISA {

using F = __m256;
constexpr int kLanes = 8;
constexpr int kTileTokens = 3;  // float tile: 4 rows x 3 tokens = 12 of 16 registers
using I = __m256i;

static inline F load(const float* p) {
  return _mm256_loadu_ps(p);
}
static inline void store(float* p, F v) {
  _mm256_storeu_ps(p, v);
}
static inline F zero() {
  return _mm256_setzero_ps();
}
static inline F set1(float v) {
  return _mm256_set1_ps(v);
}
static inline F add(F a, F b) {
  return _mm256_add_ps(a, b);
}
static inline F sub(F a, F b) {
  return _mm256_sub_ps(a, b);
}
static inline F mul(F a, F b) {
  return _mm256_mul_ps(a, b);
}
static inline F div(F a, F b) {
  return _mm256_div_ps(a, b);
}
static inline F fma(F a, F b, F c) {
  return _mm256_fmadd_ps(a, b, c);
}
static inline F max(F a, F b) {
  return _mm256_max_ps(a, b);
}
static inline F min(F a, F b) {
  return _mm256_min_ps(a, b);
}
static inline F abs(F a) {
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
static inline F round(F a) {
  return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/// value, but 0 in lanes where a < b.
static inline F zero_where_less(F a, F b, F value) {
  return _mm256_andnot_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ), value);
}
/// value in lanes [lo, hi), other elsewhere.
static inline F keep_range(F value, int64_t lo, int64_t hi, F other) {
  const __m256 lane = _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256 keep = _mm256_and_ps(_mm256_cmp_ps(lane, set1(static_cast<float>(lo)), _CMP_GE_OQ),
                                    _mm256_cmp_ps(lane, set1(static_cast<float>(hi)), _CMP_LT_OQ));
  return _mm256_blendv_ps(other, value, keep);
}
/// v * 2^n for whole n in [-126, 127].
static inline F scale_by_power(F v, F n) {
  const I biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return mul(v, _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23)));
}
static inline F load_f16(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
static inline F load_bf16(const uint16_t* p) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
static inline void store_f16(uint16_t* p, F v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
static inline float f16_value(const uint8_t* p) {
  uint16_t bits;
  memcpy(&bits, p, sizeof bits);
  return _cvtsh_ss(bits);
}

/// Sum of the lanes.
static inline float sum(F v) {
  __m128 halves = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  halves = _mm_add_ps(halves, _mm_movehl_ps(halves, halves));
  return _mm_cvtss_f32(_mm_add_ss(halves, _mm_movehdup_ps(halves)));
}
static inline float largest(F v) {
  __m128 halves = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  halves = _mm_max_ps(halves, _mm_movehl_ps(halves, halves));
  return _mm_cvtss_f32(_mm_max_ss(halves, _mm_movehdup_ps(halves)));
}

/// Lane g of the result = largest lane of v[g].
static inline F largest_of_each(const F* v) {
  F quad[2];  // quad[i], 128-bit lane l: of that lane of v[4 i .. 4 i + 3]
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const F *a = v + 4 * i, *b = a + 2;
    const F first = max(_mm256_unpacklo_ps(a[0], a[1]), _mm256_unpackhi_ps(a[0], a[1]));
    const F last = max(_mm256_unpacklo_ps(b[0], b[1]), _mm256_unpackhi_ps(b[0], b[1]));
    quad[i] = max(_mm256_shuffle_ps(first, last, 0x44), _mm256_shuffle_ps(first, last, 0xEE));
  }
  return max(_mm256_permute2f128_ps(quad[0], quad[1], 0x20),
             _mm256_permute2f128_ps(quad[0], quad[1], 0x31));
}

/// Lane c of v[r] becomes lane r of v[c].
[[gnu::always_inline]] static inline void transpose(F* v) {
  F a[8];
#pragma GCC unroll 16
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
    a[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 8; i += 4)
#pragma GCC unroll 16
    for (int h = 0; h < 2; ++h) {  // 128-bit lane l: column 4 l + 2 h (+ 1) of rows i .. i + 3
      v[i + 2 * h] = _mm256_shuffle_ps(a[i + h], a[i + h + 2], 0x44);
      v[i + 2 * h + 1] = _mm256_shuffle_ps(a[i + h], a[i + h + 2], 0xEE);
    }
#pragma GCC unroll 16
  for (int c = 0; c < 4; ++c) {
    a[c] = _mm256_permute2f128_ps(v[c], v[c + 4], 0x20);
    a[c + 4] = _mm256_permute2f128_ps(v[c], v[c + 4], 0x31);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 8; ++i) v[i] = a[i];
}

}  // namespace runnel::cpu::RUNNEL_ISA
