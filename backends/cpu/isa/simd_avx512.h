// AVX-512 (F, BW, DQ, VL) with VNNI: 16 floats or 64 int8 values.
#pragma once
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

namespace runnel::cpu::RUNNEL_ISA {

using F = __m512;
constexpr int kLanes = 16;
constexpr int kTileTokens = 6;  // float tile: 4 rows x 6 tokens = 24 of 32 registers
using I = __m512i;

static inline F load(const float* p) {
  return _mm512_loadu_ps(p);
}
static inline void store(float* p, F v) {
  _mm512_storeu_ps(p, v);
}
static inline F zero() {
  return _mm512_setzero_ps();
}
static inline F set1(float v) {
  return _mm512_set1_ps(v);
}
static inline F add(F a, F b) {
  return _mm512_add_ps(a, b);
}
static inline F sub(F a, F b) {
  return _mm512_sub_ps(a, b);
}
static inline F mul(F a, F b) {
  return _mm512_mul_ps(a, b);
}
static inline F div(F a, F b) {
  return _mm512_div_ps(a, b);
}
static inline F fma(F a, F b, F c) {
  return _mm512_fmadd_ps(a, b, c);
}
static inline F max(F a, F b) {
  return _mm512_max_ps(a, b);
}
static inline F min(F a, F b) {
  return _mm512_min_ps(a, b);
}
static inline F abs(F a) {
  return _mm512_abs_ps(a);
}
static inline F round(F a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT);
}
/// value, but 0 in lanes where a < b.
static inline F zero_where_less(F a, F b, F value) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ), value);
}
/// value in lanes [lo, hi), other elsewhere.
static inline F keep_range(F value, int64_t lo, int64_t hi, F other) {
  const uint32_t below_hi = hi >= kLanes ? 0xFFFFu : hi <= 0 ? 0u : (1u << hi) - 1;
  const uint32_t below_lo = lo >= kLanes ? 0xFFFFu : lo <= 0 ? 0u : (1u << lo) - 1;
  return _mm512_mask_mov_ps(other, static_cast<__mmask16>(below_hi & ~below_lo), value);
}
/// v * 2^n for whole n in [-126, 127].
static inline F scale_by_power(F v, F n) {
  return _mm512_scalef_ps(v, n);
}
static inline F load_f16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
static inline F load_bf16(const uint16_t* p) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
static inline void store_f16(uint16_t* p, F v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
static inline float f16_value(const uint8_t* p) {
  uint16_t bits;
  memcpy(&bits, p, sizeof bits);
  return _cvtsh_ss(bits);
}

/// Sum of the lanes.
static inline float sum(F v) {
  const __m256 halves = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  const __m128 quarters =
      _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
  const __m128 pairs = _mm_add_ps(quarters, _mm_movehl_ps(quarters, quarters));
  return _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs)));
}
static inline float largest(F v) {
  return _mm512_reduce_max_ps(v);
}

/// Lane g of the result = largest lane of v[g].
static inline F largest_of_each(const F* v) {
  F quad[4];  // quad[i], 128-bit lane l: of that lane of v[4 i .. 4 i + 3]
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const F *a = v + 4 * i, *b = a + 2;
    const F first = max(_mm512_unpacklo_ps(a[0], a[1]), _mm512_unpackhi_ps(a[0], a[1]));
    const F last = max(_mm512_unpacklo_ps(b[0], b[1]), _mm512_unpackhi_ps(b[0], b[1]));
    quad[i] = max(_mm512_shuffle_ps(first, last, 0x44), _mm512_shuffle_ps(first, last, 0xEE));
  }
  const auto halve = [](F a, F b) {
    return max(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
  };
  return halve(halve(quad[0], quad[1]), halve(quad[2], quad[3]));
}

/// Lane c of v[r] becomes lane r of v[c].
[[gnu::always_inline]] static inline void transpose(F* v) {
  F a[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
    a[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 4)
#pragma GCC unroll 16
    for (int h = 0; h < 2; ++h) {  // 128-bit lane l: column 4 l + 2 h (+ 1) of rows i .. i + 3
      v[i + 2 * h] = _mm512_shuffle_ps(a[i + h], a[i + h + 2], 0x44);
      v[i + 2 * h + 1] = _mm512_shuffle_ps(a[i + h], a[i + h + 2], 0xEE);
    }
#pragma GCC unroll 16
  for (int c = 0; c < 4; ++c) {
    const F low = _mm512_shuffle_f32x4(v[c], v[c + 4], 0x88);
    const F low_odd = _mm512_shuffle_f32x4(v[c], v[c + 4], 0xDD);
    const F high = _mm512_shuffle_f32x4(v[c + 8], v[c + 12], 0x88);
    const F high_odd = _mm512_shuffle_f32x4(v[c + 8], v[c + 12], 0xDD);
    a[c] = _mm512_shuffle_f32x4(low, high, 0x88);
    a[c + 8] = _mm512_shuffle_f32x4(low, high, 0xDD);
    a[c + 4] = _mm512_shuffle_f32x4(low_odd, high_odd, 0x88);
    a[c + 12] = _mm512_shuffle_f32x4(low_odd, high_odd, 0xDD);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) v[i] = a[i];
}

}  // namespace runnel::cpu::RUNNEL_ISA
