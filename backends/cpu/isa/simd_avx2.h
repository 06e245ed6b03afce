// AVX2 with FMA and F16C: 8 floats or 32 int8 values.
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
/// 2^n for whole n in [-126, 127].
static inline F power_of_two(F n) {
  const I biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
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

// ---- int8 dot products: stored weights are unsigned (value + offset), activations signed ----

static inline I load_i8(const int8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
/// The nearest whole numbers. REQUIRES: within [-127, 127].
static inline void store_i8(int8_t* p, F v) {
  const I ints = _mm256_cvtps_epi32(v);
  const __m128i words =
      _mm_packs_epi32(_mm256_castsi256_si128(ints), _mm256_extracti128_si256(ints, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}
static inline I load_ints(const int32_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
/// Sums of four products, lane by lane. wide: weights above 127, whose 16-bit sums would saturate:
/// taken as signed, 128 less.
template <bool wide>
static inline I dot_bytes(I w, I x) {
  if constexpr (wide) {
    w = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
    x = _mm256_sign_epi8(x, w);
    w = _mm256_sign_epi8(w, w);
  }
  return _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1));
}
/// dot, with what the offset of the stored weights added taken off.
template <int offset>
static inline I take_offset(I dot, I sum) {
  if constexpr (offset == 0 || offset >= 128) return dot;
  return _mm256_sub_epi32(dot, _mm256_slli_epi32(sum, __builtin_ctz(offset)));
}
/// Lane g of the result = sum of the lanes of group g, for 8 groups of `group` values.
/// v: 8 registers of one group, or 4 registers of 2.
template <int group>
static inline I gather_groups(const I* v) {
  I quad[group / 16];  // quad[i], 128-bit lane l: partial sums of registers 4 i .. 4 i + 3
  for (int i = 0; i < group / 16; ++i) {
    const I *a = v + 4 * i, *b = a + 2;
    const I first =
        _mm256_add_epi32(_mm256_unpacklo_epi32(a[0], a[1]), _mm256_unpackhi_epi32(a[0], a[1]));
    const I last =
        _mm256_add_epi32(_mm256_unpacklo_epi32(b[0], b[1]), _mm256_unpackhi_epi32(b[0], b[1]));
    quad[i] =
        _mm256_add_epi32(_mm256_unpacklo_epi64(first, last), _mm256_unpackhi_epi64(first, last));
  }
  if constexpr (group == 16)
    return _mm256_permutevar8x32_epi32(quad[0], _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  return _mm256_add_epi32(_mm256_permute2x128_si256(quad[0], quad[group / 16 - 1], 0x20),
                          _mm256_permute2x128_si256(quad[0], quad[group / 16 - 1], 0x31));
}
/// The scale of 32 values, for each group of a half (0, 1) of 16 groups.
template <int group>
static inline F group_scales(const float* p, int half) {
  if constexpr (group == 32) return load(p + kLanes * half);
  return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(p + 4 * half)),
                                  _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}
static inline F to_float(I v) {
  return _mm256_cvtepi32_ps(v);
}

}  // namespace runnel::cpu::RUNNEL_ISA
