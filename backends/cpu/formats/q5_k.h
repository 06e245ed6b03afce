// Q5_K: 256 values in 176 bytes: factors as in scales6.h, 32 bytes of fifth bits (bit j of byte l
// belongs to value l of group j), then nibbles.
#pragma once
#include "backends/cpu/formats/scales6.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q5_K : Block6<176, 31> {
  static constexpr int kFifths = 16;  // byte offset

#if RUNNEL_SIMD_BITS == 512
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + i / 4 * kBlockBytes;
    const int c = i % 4;
    const auto bit = [](int group) { return _mm256_set1_epi8(static_cast<char>(1 << group)); };
    return with_fifths(low_bits(p, c), twice(p + kFifths), joined(bit(2 * c), bit(2 * c + 1)));
  }
  static inline I pair(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + i / 4 * kBlockBytes;
    const int odd = i / 2 % 2, half = i % 2;
    const I bits = _mm512_broadcast_i32x4(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + kFifths + 16 * half)));
    const I even_bit = _mm512_setr_epi64(0x0101010101010101, 0x0101010101010101, 0x0404040404040404,
                                         0x0404040404040404, 0x1010101010101010, 0x1010101010101010,
                                         0x4040404040404040, 0x4040404040404040);
    return with_fifths(low_bits_of_four(p, odd, half), bits,
                       odd ? _mm512_add_epi8(even_bit, even_bit) : even_bit);
  }
  static inline I with_fifths(I low, I bits, I bit) {
    return _mm512_mask_add_epi8(low, _mm512_test_epi8_mask(bits, bit), low, _mm512_set1_epi8(16));
  }
#elif RUNNEL_SIMD_BITS == 256
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + i / 8 * kBlockBytes;
    const int j = i % 8;
    const I bit = _mm256_set1_epi8(static_cast<char>(1 << j));
    const I bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + kFifths));
    const I fifth =
        _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(bits, bit), bit), _mm256_set1_epi8(16));
    return _mm256_or_si256(low_bits(p, j), fifth);
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + i / 16 * kBlockBytes;
    const uint8x16_t bits = vld1q_u8(p + kFifths + i % 2 * 16);
    const uint8x16_t bit = vdupq_n_u8(static_cast<uint8_t>(1 << (i % 16 / 2)));
    const uint8x16_t fifth = vandq_u8(vtstq_u8(bits, bit), vdupq_n_u8(16));
    return as_signed(vorrq_u8(low_bits(p, i % 16), fifth));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    const int fifth = (p[kFifths + i % 32] >> (i / 32)) & 1;
    return static_cast<int8_t>(low_bits(p, i) | fifth << 4);
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
