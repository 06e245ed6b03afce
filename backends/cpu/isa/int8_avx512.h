// AVX-512 with VNNI: int8 values, 64 to a register, and their dot products.
// Stored weights are unsigned (value + offset), activations signed.
#pragma once
#include "backends/cpu/isa/simd_avx512.h"

namespace runnel::cpu::RUNNEL_ISA {

static inline I load_i8(const int8_t* p) {
  return _mm512_loadu_si512(p);
}
/// The nearest whole numbers of four registers; NaN and below -127 become -127.
/// REQUIRES: up to 127.
static inline I pack_i8(const F* v) {
  const I first = _mm512_packs_epi32(_mm512_cvtps_epi32(v[0]), _mm512_cvtps_epi32(v[1]));
  const I last = _mm512_packs_epi32(_mm512_cvtps_epi32(v[2]), _mm512_cvtps_epi32(v[3]));
  const I bytes = _mm512_permutexvar_epi32(
      _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
      _mm512_packs_epi16(first, last));
  return _mm512_max_epi8(bytes, _mm512_set1_epi8(-127));
}
static inline I joined(__m256i low, __m256i high) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}
static inline I load_ints(const int32_t* p) {
  return _mm512_loadu_si512(p);
}
static inline I ones_i8() {
  return _mm512_set1_epi8(1);
}
static inline void store_ints(void* p, I v) {
  _mm512_storeu_si512(p, v);
}
/// Lane i of the result = the sum of lanes 2 i and 2 i + 1 of a, then b.
static inline I add_neighbours(I a, I b) {
  const I even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const I odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  return _mm512_add_epi32(_mm512_permutex2var_epi32(a, even, b),
                          _mm512_permutex2var_epi32(a, odd, b));
}
/// Sums of four products, lane by lane. wide: weights above 127.
template <bool wide>
static inline I dot_bytes(I w, I x) {
  return _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, x);
}
/// The same, added to sum.
static inline I add_bytes(I sum, I w, I x) {
  return _mm512_dpbusd_epi32(sum, w, x);
}
/// dot, with what the offset of the stored weights added taken off.
template <int offset>
static inline I take_offset(I dot, I sum) {
  if constexpr (offset == 0) return dot;
  return _mm512_sub_epi32(dot, _mm512_slli_epi32(sum, __builtin_ctz(offset)));
}
/// 128-bit lane l, lane i of the result = sum of the four lanes of v[i]'s 128-bit lane l. most: of
/// a lane's magnitude; while sums fit 16 bits, two instructions do what three do else.
template <int64_t most>
static inline I sum_quads(const I* v) {
  constexpr bool kNarrow = most <= INT16_MAX;
  const I ones = _mm512_set1_epi16(1);
  I two[2];  // sums of the pairs of v[2 i], then of v[2 i + 1]
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i)
    two[i] = kNarrow ? _mm512_madd_epi16(_mm512_packs_epi32(v[2 * i], v[2 * i + 1]), ones)
                     : _mm512_add_epi32(_mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]),
                                        _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
  if constexpr (!kNarrow)
    return _mm512_add_epi32(_mm512_unpacklo_epi64(two[0], two[1]),
                            _mm512_unpackhi_epi64(two[0], two[1]));
  if constexpr (2 * most <= INT16_MAX)
    return _mm512_madd_epi16(_mm512_packs_epi32(two[0], two[1]), ones);
  const F a = _mm512_castsi512_ps(two[0]), b = _mm512_castsi512_ps(two[1]);
  return _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(a, b, 0x88)),
                          _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0xDD)));
}
/// Lane g: where sum_groups() leaves group g; paired: see kIsPaired.
template <int group, bool paired>
static inline I group_order() {
  if constexpr (group == 16 && !paired)
    return _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  if constexpr (paired)
    return _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
  return _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
}
/// Sums of 16 groups of `group` values, in group_order(). v: 8 registers of 2 groups, or 4 of 4.
template <int group, int64_t most>
static inline I sum_groups(const I* v) {
  const I low = sum_quads<most>(v);
  if constexpr (group == 16) return low;
  const I high = sum_quads<most>(v + group / 8);
  return _mm512_add_epi32(_mm512_shuffle_i64x2(low, high, 0x88),
                          _mm512_shuffle_i64x2(low, high, 0xDD));
}
/// Lane g of the result = sum of group g.
template <int group>
static inline I gather_groups(const I* v) {
  return _mm512_permutexvar_epi32(group_order<group, false>(), sum_groups<group, INT32_MAX>(v));
}
/// The scale of 32 values, for each of 16 groups.
template <int group>
static inline F group_scales(const float* p, int) {
  if constexpr (group == 32) return load(p);
  return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7),
                               _mm512_castps256_ps512(_mm256_loadu_ps(p)));
}
static inline F to_float(I v) {
  return _mm512_cvtepi32_ps(v);
}

}  // namespace runnel::cpu::RUNNEL_ISA
