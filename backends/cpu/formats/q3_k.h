// Q3_K: 256 values in 110 bytes: 32 bytes of high bits, 64 bytes of low bit pairs as in scales16.h,
// 12 bytes of 6-bit scales (+ 32) of 16 values each, f16 d. Value = d * scale * (q - 4). SOURCE:
// ggml block_q3_K; bit n / 32 of high byte n % 32 belongs to value n. Scale j: low nibble (j < 8)
// or high nibble of byte j % 8, upper bits in pair j / 4 of byte 8 + j % 4.
#pragma once
#include "backends/cpu/formats/scales16.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q3_K : Layout<110, 256, 16, 4, false, 7> {
  static constexpr int kLow = 32, kScales = 96, kD = 108;  // byte offsets

#if RUNNEL_SIMD_BITS >= 256
  /// As numbers from -32 on.
  static inline __m128i whole_scales(const uint8_t* p) {
    // Words -, a, b, c: low nibbles of a and b, then their high ones; pairs of c above them.
    const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + kScales - 4));
    const __m128i low = _mm_srlv_epi32(_mm_shuffle_epi32(words, 0x99), _mm_setr_epi32(0, 0, 4, 4));
    const __m128i high = _mm_slli_epi32(
        _mm_and_si128(_mm_srlv_epi32(_mm_shuffle_epi32(words, 0xFF), _mm_setr_epi32(0, 2, 4, 6)),
                      _mm_set1_epi8(3)),
        4);
    return _mm_sub_epi8(_mm_or_si128(_mm_and_si128(low, _mm_set1_epi8(15)), high),
                        _mm_set1_epi8(32));
  }
  static inline void scales(const uint8_t* p, float* scale, float*) {
    scales16(whole_scales(p), f16_value(p + kD), scale);
  }
#else
  static inline void scales(const uint8_t* p, float* scale, float*) {
    uint32_t a[3], s[4];
    memcpy(a, p + kScales, sizeof a);
    const uint32_t nibble = 0x0F0F0F0Fu, pair = 0x03030303u;
    s[0] = (a[0] & nibble) | ((a[2] & pair) << 4);
    s[1] = (a[1] & nibble) | (((a[2] >> 2) & pair) << 4);
    s[2] = ((a[0] >> 4) & nibble) | (((a[2] >> 4) & pair) << 4);
    s[3] = ((a[1] >> 4) & nibble) | (((a[2] >> 6) & pair) << 4);
    int8_t scales[16];
    memcpy(scales, s, sizeof s);
    for (int j = 0; j < 16; ++j) scales[j] = static_cast<int8_t>(scales[j] - 32);
    scales16(scales, f16_value(p + kD), scale);
  }
#endif
#if RUNNEL_SIMD_BITS == 512
  static inline void pair_scales(const uint8_t* a, const uint8_t* b, F* scale, F*) {
    pair_scales16(whole_scales(a), f16_value(a + kD), whole_scales(b), f16_value(b + kD), scale);
  }
  static inline I values(const uint8_t* p, int i) {
    const I low = bit_pairs(p + kLow, i);
    const I bit = joined(_mm256_set1_epi8(static_cast<char>(1 << (2 * i))),
                         _mm256_set1_epi8(static_cast<char>(2 << (2 * i))));
    return _mm512_mask_add_epi8(low, _mm512_test_epi8_mask(twice(p), bit), low,
                                _mm512_set1_epi8(4));
  }
#elif RUNNEL_SIMD_BITS == 256
  static inline I values(const uint8_t* p, int i) {
    const I high = shift_down(load_32_bytes(p), i);
    return _mm256_or_si256(bit_pairs(p + kLow, i),
                           _mm256_slli_epi16(_mm256_and_si256(high, _mm256_set1_epi8(1)), 2));
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* p, int i) {
    const uint8x16_t high = bits_of(p + i % 2 * 16, i / 2, 1);
    return as_signed(vorrq_u8(bit_pairs(p + kLow, i), vshlq_n_u8(high, 2)));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    const int high = (p[i % 32] >> (i / 32)) & 1;
    return static_cast<int8_t>((bit_pair(p + kLow, i) | high << 2) - kOffset);
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
