// Q6_K: 256 values in 210 bytes: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 int8
// scales of 16 values each, f16 d. Value = d * scale * (q - 32).
// SOURCE: ggml block_q6_K; of half h the 64 bytes at 64 h hold values 0..63 (low nibbles) and
// 64..127 (high), the 32 bytes at 128 + 32 h hold the upper bits of values r, r + 32, r + 64, r
// + 96.
#pragma once
#include "backends/cpu/formats/groups_of_16.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q6_K : GroupsOf16<32> {
  static constexpr int64_t kBlockBytes = 210;
  static constexpr int kHigh = 128, kScales = 192, kD = 208;  // byte offsets

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
  static inline void unpack(const uint8_t* block, Unpacked& u) {
    set_scales(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block + kScales)),
               f16_value(block + kD), u);
    const I low_pairs = _mm512_setr_epi64(0, 0, 0, 0, 0x0002000200020002, 0x0002000200020002,
                                          0x0002000200020002, 0x0002000200020002);
    const I high_pairs = _mm512_add_epi16(low_pairs, _mm512_set1_epi16(4));
    const I nibble = _mm512_set1_epi8(15), pair = _mm512_set1_epi8(3);
    for (int h = 0; h < 2; ++h) {
      const I low = _mm512_loadu_si512(block + 64 * h);
      const I high = _mm512_broadcast_i64x4(
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + kHigh + 32 * h)));
      const I first = _mm512_and_si512(_mm512_srlv_epi16(high, low_pairs), pair);
      const I second = _mm512_and_si512(_mm512_srlv_epi16(high, high_pairs), pair);
      u.w[2 * h] = _mm512_or_si512(_mm512_and_si512(low, nibble), _mm512_slli_epi16(first, 4));
      u.w[2 * h + 1] = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(low, 4), nibble),
                                       _mm512_slli_epi16(second, 4));
    }
  }

#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
  static inline void unpack(const uint8_t* block, Unpacked& u) {
    set_scales(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block + kScales)),
               f16_value(block + kD), u);
    const I nibble = _mm256_set1_epi8(15), pair = _mm256_set1_epi8(3);
    for (int h = 0; h < 2; ++h) {
      const auto* low = reinterpret_cast<const __m256i*>(block + 64 * h);
      const I low0 = _mm256_loadu_si256(low), low1 = _mm256_loadu_si256(low + 1);
      const I high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + kHigh + 32 * h));
      const I bits[4] = {high, _mm256_srli_epi16(high, 2), _mm256_srli_epi16(high, 4),
                         _mm256_srli_epi16(high, 6)};
      const I nibbles[4] = {low0, low1, _mm256_srli_epi16(low0, 4), _mm256_srli_epi16(low1, 4)};
      for (int i = 0; i < 4; ++i)
        u.w[4 * h + i] = _mm256_or_si256(_mm256_and_si256(nibbles[i], nibble),
                                         _mm256_slli_epi16(_mm256_and_si256(bits[i], pair), 4));
    }
  }

#else
  static inline void unpack(const uint8_t* block, Unpacked& u) {
    for (int h = 0; h < 2; ++h)
      for (int r = 0; r < 128; ++r) {
        const uint8_t low = block[64 * h + r % 64], high = block[kHigh + 32 * h + r % 32];
        const int nibble = r < 64 ? low & 15 : low >> 4;
        u.w[128 * h + r] = static_cast<int8_t>((nibble | ((high >> (2 * (r / 32))) & 3) << 4) - 32);
      }
    memcpy(u.scales, block + kScales, sizeof u.scales);
    u.d = f16_value(block + kD);
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
