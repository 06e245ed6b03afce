// AVX2, perhaps with vpdpbusd: int8 values, 32 to a register, and their dot products.
// Stored weights are unsigned (value + offset), activations signed.
#pragma once
#include "backends/cpu/isa/simd_avx2.h"

namespace runnel::cpu::RUNNEL_ISA {

static inline I load_i8(const int8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
/// The nearest whole numbers of four registers; NaN and below -127 become -127.
/// REQUIRES: up to 127.
static inline I pack_i8(const F* v) {
  const I first = _mm256_packs_epi32(_mm256_cvtps_epi32(v[0]), _mm256_cvtps_epi32(v[1]));
  const I last = _mm256_packs_epi32(_mm256_cvtps_epi32(v[2]), _mm256_cvtps_epi32(v[3]));
  const I bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(first, last),
                                              _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  return _mm256_max_epi8(bytes, _mm256_set1_epi8(-127));
}
static inline I ones_i8() {
  return _mm256_set1_epi8(1);
}
static inline void store_ints(void* p, I v) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), v);
}
/// Lane i of the result = the sum of lanes 2 i and 2 i + 1 of a, then b.
static inline I add_neighbours(I a, I b) {
  return _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xD8);
}
static inline I load_ints(const int32_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
/// True with vpdpbusd: sums of four products are exact, whatever the weights.
#if defined(__AVXVNNI__) || defined(__AVX512VNNI__)
constexpr bool kExactDots = true;
#else
constexpr bool kExactDots = false;
#endif
/// Sums of four products, added to sum lane by lane. REQUIRES without kExactDots: weights up to
/// 127.
static inline I add_bytes(I sum, I w, I x) {
#if defined(__AVXVNNI__)
  return _mm256_dpbusd_avx_epi32(sum, w, x);
#elif defined(__AVX512VNNI__)
  return _mm256_dpbusd_epi32(sum, w, x);
#else
  const I dots = _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1));
  return _mm256_add_epi32(sum, dots);
#endif
}
/// The same alone. wide: weights above 127, whose 16-bit sums would saturate without kExactDots:
/// taken as signed, 128 less.
template <bool wide>
static inline I dot_bytes(I w, I x) {
  if constexpr (kExactDots) return add_bytes(_mm256_setzero_si256(), w, x);
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
  if constexpr (offset == 0 || (offset >= 128 && !kExactDots)) return dot;
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
