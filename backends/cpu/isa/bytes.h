// As many bytes as a register holds, for unpacking codes: shifts, masks, a table of 16 levels.
#pragma once
#include "backends/cpu/isa/simd.h"

namespace runnel::cpu::RUNNEL_ISA {

#if RUNNEL_SIMD_BITS == 512
using B = __m512i;
static inline B load_bytes(const uint8_t* p) {
  return _mm512_loadu_si512(p);
}
static inline void store_bytes(uint8_t* p, B v) {
  _mm512_storeu_si512(p, v);
}
static inline B all_bytes(uint8_t v) {
  return _mm512_set1_epi8(static_cast<char>(v));
}
static inline B and_bytes(B a, B b) {
  return _mm512_and_si512(a, b);
}
static inline B or_bytes(B a, B b) {
  return _mm512_or_si512(a, b);
}
/// Bits of neighbours come in: mask afterwards.
template <int n>
static inline B shift_right(B v) {
  return _mm512_srli_epi16(v, n);
}
template <int n>
static inline B shift_left(B v) {
  return _mm512_slli_epi16(v, n);
}
static inline B load_table(const uint8_t* table) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
}
static inline B look_up(B table, B index) {
  return _mm512_shuffle_epi8(table, index);
}
#elif RUNNEL_SIMD_BITS == 256
using B = __m256i;
static inline B load_bytes(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
static inline void store_bytes(uint8_t* p, B v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v);
}
static inline B all_bytes(uint8_t v) {
  return _mm256_set1_epi8(static_cast<char>(v));
}
static inline B and_bytes(B a, B b) {
  return _mm256_and_si256(a, b);
}
static inline B or_bytes(B a, B b) {
  return _mm256_or_si256(a, b);
}
template <int n>
static inline B shift_right(B v) {
  return _mm256_srli_epi16(v, n);
}
template <int n>
static inline B shift_left(B v) {
  return _mm256_slli_epi16(v, n);
}
static inline B load_table(const uint8_t* table) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
}
static inline B look_up(B table, B index) {
  return _mm256_shuffle_epi8(table, index);
}
#elif RUNNEL_SIMD_BITS == 128
using B = uint8x16_t;
static inline B load_bytes(const uint8_t* p) {
  return vld1q_u8(p);
}
static inline void store_bytes(uint8_t* p, B v) {
  vst1q_u8(p, v);
}
static inline B all_bytes(uint8_t v) {
  return vdupq_n_u8(v);
}
static inline B and_bytes(B a, B b) {
  return vandq_u8(a, b);
}
static inline B or_bytes(B a, B b) {
  return vorrq_u8(a, b);
}
template <int n>
static inline B shift_right(B v) {
  return vshrq_n_u8(v, n);
}
template <int n>
static inline B shift_left(B v) {
  return vshlq_n_u8(v, n);
}
static inline B load_table(const uint8_t* table) {
  return vld1q_u8(table);
}
static inline B look_up(B table, B index) {
  return vqtbl1q_u8(table, index);
}
#else
typedef uint8_t B __attribute__((vector_size(16)));
static inline B load_bytes(const uint8_t* p) {
  B v;
  memcpy(&v, p, sizeof v);
  return v;
}
static inline void store_bytes(uint8_t* p, B v) {
  memcpy(p, &v, sizeof v);
}
static inline B all_bytes(uint8_t v) {
  return B{} + v;
}
static inline B and_bytes(B a, B b) {
  return a & b;
}
static inline B or_bytes(B a, B b) {
  return a | b;
}
template <int n>
static inline B shift_right(B v) {
  return v >> n;
}
template <int n>
static inline B shift_left(B v) {
  return v << n;
}
static inline B load_table(const uint8_t* table) {
  return load_bytes(table);
}
static inline B look_up(B table, B index) {
  B v;
  for (int i = 0; i < 16; ++i) v[i] = table[index[i]];
  return v;
}
#endif

}  // namespace runnel::cpu::RUNNEL_ISA
