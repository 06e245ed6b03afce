// Bytes to registers: nibbles whose low halves are values 0..15 of 32 and whose high halves are
// values 16..31, and the fifth bits beside them.
#pragma once
#include "backends/cpu/isa/simd.h"

namespace runnel::cpu::RUNNEL_ISA {

static inline int16_t load_16(const uint8_t* p) {
  int16_t bits;
  memcpy(&bits, p, sizeof bits);
  return bits;
}

static inline uint32_t load_32(const uint8_t* p) {
  uint32_t bits;
  memcpy(&bits, p, sizeof bits);
  return bits;
}

#if RUNNEL_SIMD_BITS == 512
/// 16 bytes of each of four blocks, kStride bytes apart.
template <int64_t kStride>
static inline I four_blocks(const uint8_t* p) {
  const auto part = [p](int64_t i) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i * kStride));
  };
  const __m256i first = _mm256_inserti128_si256(_mm256_castsi128_si256(part(0)), part(1), 1);
  return _mm512_inserti32x4(_mm512_inserti32x4(_mm512_castsi256_si512(first), part(2), 2), part(3),
                            3);
}
/// 32 bytes, in both halves.
static inline I twice(const uint8_t* p) {
  return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
/// 64 bytes, loaded once for both halves of their nibbles: compilers load them twice else.
static inline I loaded(const uint8_t* p) {
  I bytes = _mm512_loadu_si512(p);
  asm("" : "+v"(bytes));
  return bytes;
}
/// Low (half 0) or high nibbles.
static inline I half_nibbles(I bytes, int half) {
  return _mm512_and_si512(half ? _mm512_srli_epi16(bytes, 4) : bytes, _mm512_set1_epi8(15));
}
/// The nibbles of two blocks; a, b: their 16 bytes.
static inline I nibble_pair(const uint8_t* a, const uint8_t* b) {
  const I bytes = _mm512_mask_broadcast_i32x4(
      _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a))), 0xFF00,
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)));
  const I shift = _mm512_setr_epi64(0, 0, 0x0004000400040004, 0x0004000400040004, 0, 0,
                                    0x0004000400040004, 0x0004000400040004);
  return _mm512_and_si512(_mm512_srlv_epi16(bytes, shift), _mm512_set1_epi8(15));
}
#elif RUNNEL_SIMD_BITS == 256
/// The nibbles of a block.
static inline I nibbles(const uint8_t* p) {
  const __m128i q = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(q, 4), q), _mm256_set1_epi8(15));
}
/// 16 where the bit of a value is set.
static inline I fifth_bits(const uint8_t* p) {
  const I byte = _mm256_shuffle_epi8(
      _mm256_set1_epi32(static_cast<int>(load_32(p))),
      _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
  const I bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(byte, bit), bit),
                          _mm256_set1_epi8(16));
}
#elif RUNNEL_SIMD_BITS == 128
/// The low (half 0) or high nibbles of 16 bytes.
static inline uint8x16_t half_nibbles(const uint8_t* p, int half) {
  return half ? vshrq_n_u8(vld1q_u8(p), 4) : vandq_u8(vld1q_u8(p), vdupq_n_u8(15));
}
/// 16 where the bit of a value is set; p: 2 bytes.
static inline uint8x16_t fifth_bits(const uint8_t* p) {
  const uint8x16_t byte = vcombine_u8(vdup_n_u8(p[0]), vdup_n_u8(p[1]));
  const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
  return vandq_u8(vtstq_u8(byte, bit), vdupq_n_u8(16));
}
#else
/// Value i of a block's nibbles.
static inline int nibble(const uint8_t* p, int i) {
  return i < 16 ? p[i] & 15 : p[i - 16] >> 4;
}
#endif

}  // namespace runnel::cpu::RUNNEL_ISA
