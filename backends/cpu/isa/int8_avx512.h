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
/// Lane g of the result = sum of the lanes of group g, for 16 groups of `group` values.
/// v: 8 registers of 2 groups, or 4 registers of 4.
template <int group>
static inline I gather_groups(const I* v) {
  I quad[group / 16];  // quad[i], 128-bit lane l: partial sums of registers 4 i .. 4 i + 3
  for (int i = 0; i < group / 16; ++i) {
    const I *a = v + 4 * i, *b = a + 2;
    const I first =
        _mm512_add_epi32(_mm512_unpacklo_epi32(a[0], a[1]), _mm512_unpackhi_epi32(a[0], a[1]));
    const I last =
        _mm512_add_epi32(_mm512_unpacklo_epi32(b[0], b[1]), _mm512_unpackhi_epi32(b[0], b[1]));
    quad[i] =
        _mm512_add_epi32(_mm512_unpacklo_epi64(first, last), _mm512_unpackhi_epi64(first, last));
  }
  if constexpr (group == 16)
    return _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), quad[0]);
  const I sums = _mm512_add_epi32(_mm512_shuffle_i64x2(quad[0], quad[group / 16 - 1], 0x88),
                                  _mm512_shuffle_i64x2(quad[0], quad[group / 16 - 1], 0xDD));
  return _mm512_permutexvar_epi32(
      _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15), sums);
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
