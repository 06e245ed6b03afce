// Q3_K: 256 values in 110 bytes: 32 bytes of high bits, 64 bytes of low bit pairs, 12 bytes of
// 6-bit scales (+ 32) of 16 values each, f16 d. Value = d * scale * (q - 4). SOURCE: ggml
// block_q3_K; bit n / 32 of high byte n % 32 and pair (n % 128) / 32 of low byte 32 (n / 128) + n %
// 32 belong to value n. Scale j: low nibble (j < 8) or high nibble of byte j % 8, upper bits in
// pair j / 4 of byte 8 + j % 4.
#pragma once
#include "backends/cpu/formats/groups_of_16.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q3_K : GroupsOf16<4> {
  static constexpr int64_t kBlockBytes = 110;
  static constexpr int kLow = 32, kScales = 96, kD = 108;  // byte offsets

  /// The 16 scales, offset taken off.
  static inline void read_scales(const uint8_t* block, int8_t* scales) {
    uint32_t a[3], s[4];
    memcpy(a, block + kScales, sizeof a);
    const uint32_t nibble = 0x0F0F0F0Fu, pair = 0x03030303u;
    s[0] = (a[0] & nibble) | ((a[2] & pair) << 4);
    s[1] = (a[1] & nibble) | (((a[2] >> 2) & pair) << 4);
    s[2] = ((a[0] >> 4) & nibble) | (((a[2] >> 4) & pair) << 4);
    s[3] = ((a[1] >> 4) & nibble) | (((a[2] >> 6) & pair) << 4);
    memcpy(scales, s, sizeof s);
    for (int j = 0; j < 16; ++j) scales[j] = static_cast<int8_t>(scales[j] - 32);
  }

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
  static inline void unpack(const uint8_t* block, Unpacked& u) {
    int8_t scales[16];
    read_scales(block, scales);
    set_scales(_mm_loadu_si128(reinterpret_cast<const __m128i*>(scales)), f16_value(block + kD), u);
    const I bits =
        _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(block)));
    const I upper = _mm512_setr_epi64(0, 0, 0, 0, 0x0001000100010001, 0x0001000100010001,
                                      0x0001000100010001, 0x0001000100010001);
    for (int c = 0; c < 4; ++c) {  // values 64 c ..: two rows of 32
      const I low = _mm512_broadcast_i64x4(
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + kLow + 32 * (c / 2))));
      const I row = _mm512_add_epi16(upper, _mm512_set1_epi16(static_cast<int16_t>(2 * c)));
      const I pair = _mm512_add_epi16(_mm512_slli_epi16(upper, 1),
                                      _mm512_set1_epi16(static_cast<int16_t>(4 * (c % 2))));
      const I high = _mm512_and_si512(_mm512_srlv_epi16(bits, row), _mm512_set1_epi8(1));
      u.w[c] = _mm512_or_si512(_mm512_and_si512(_mm512_srlv_epi16(low, pair), _mm512_set1_epi8(3)),
                               _mm512_slli_epi16(high, 2));
    }
  }

#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
  static inline void unpack(const uint8_t* block, Unpacked& u) {
    int8_t scales[16];
    read_scales(block, scales);
    set_scales(_mm_loadu_si128(reinterpret_cast<const __m128i*>(scales)), f16_value(block + kD), u);
    const I bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block));
    for (int i = 0; i < 8; ++i) {
      const I low =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + kLow + 32 * (i / 4)));
      const I pair = _mm256_and_si256(_mm256_srl_epi16(low, _mm_cvtsi32_si128(2 * (i % 4))),
                                      _mm256_set1_epi8(3));
      const I high =
          _mm256_and_si256(_mm256_srl_epi16(bits, _mm_cvtsi32_si128(i)), _mm256_set1_epi8(1));
      u.w[i] = _mm256_or_si256(pair, _mm256_slli_epi16(high, 2));
    }
  }

#else
  static inline void unpack(const uint8_t* block, Unpacked& u) {
    for (int n = 0; n < 256; ++n) {
      const int pair = (block[kLow + 32 * (n / 128) + n % 32] >> (2 * ((n % 128) / 32))) & 3;
      const int high = (block[n % 32] >> (n / 32)) & 1;
      u.w[n] = static_cast<int8_t>((pair | high << 2) - 4);
    }
    read_scales(block, u.scales);
    u.d = f16_value(block + kD);
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
