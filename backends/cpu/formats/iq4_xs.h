// IQ4_XS: 256 values in 136 bytes: f16 d, upper pairs and low nibbles of eight 6-bit scales (+ 32),
// 128 bytes of nibbles. Value = d * scale * level[nibble]. SOURCE: ggml block_iq4_xs; of group j of
// 32 values the 16 bytes at 8 + 16 j hold the first 16 in their low nibbles and the last 16 in
// their high ones.
#pragma once
#include "backends/cpu/formats/groups_of_16.h"

namespace runnel::cpu::RUNNEL_ISA {

// Where products take unsigned values without saturating, levels are stored + 128.
struct IQ4_XS : GroupsOf16<128> {
  static constexpr int64_t kBlockBytes = 136;
  static constexpr int kLow = 4, kNibbles = 8;  // byte offsets

  /// The scale of each half group, offset taken off.
  static inline void read_scales(const uint8_t* block, int8_t* scales) {
    uint16_t upper;
    memcpy(&upper, block + 2, sizeof upper);
    for (int j = 0; j < 8; ++j) {
      const int low = (block[kLow + j / 2] >> (4 * (j % 2))) & 15;
      const auto scale = static_cast<int8_t>((low | ((upper >> (2 * j)) & 3) << 4) - 32);
      scales[2 * j] = scales[2 * j + 1] = scale;
    }
  }

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
  static inline __m128i levels() {
    return _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
  }
#endif

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
  static inline void unpack(const uint8_t* block, Unpacked& u) {
    int8_t scales[16];
    read_scales(block, scales);
    set_scales(_mm_loadu_si128(reinterpret_cast<const __m128i*>(scales)), f16_value(block), u);
    const I table = _mm512_add_epi8(_mm512_broadcast_i32x4(levels()), _mm512_set1_epi8(-128));
    const __m256i nibble = _mm256_set1_epi8(15);
    for (int c = 0; c < 4; ++c) {
      const __m256i pairs =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + kNibbles + 32 * c));
      const I halves = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_and_si256(pairs, nibble)),
                                          _mm256_and_si256(_mm256_srli_epi16(pairs, 4), nibble), 1);
      // low 0, low 1, high 0, high 1 -> low 0, high 0, low 1, high 1
      u.w[c] = _mm512_shuffle_epi8(table, _mm512_shuffle_i64x2(halves, halves, 0xD8));
    }
  }

#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
  static inline void unpack(const uint8_t* block, Unpacked& u) {
    int8_t scales[16];
    read_scales(block, scales);
    set_scales(_mm_loadu_si128(reinterpret_cast<const __m128i*>(scales)), f16_value(block), u);
    const __m128i nibble = _mm_set1_epi8(15);
    for (int j = 0; j < 8; ++j) {
      const __m128i pairs =
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + kNibbles + 16 * j));
      const __m128i first = _mm_shuffle_epi8(levels(), _mm_and_si128(pairs, nibble));
      const __m128i last =
          _mm_shuffle_epi8(levels(), _mm_and_si128(_mm_srli_epi16(pairs, 4), nibble));
      u.w[j] =
          _mm256_set_m128i(last, first);  // signed: 16-bit sums of unsigned ones would saturate
    }
  }
  static inline F accumulate(const Unpacked& u, const Superblock& x, F acc) {
    F inner = zero();
    for (int j = 0; j < 8; ++j)
      inner = fma(to_float(dot_signed(u.w[j], load_i8(x.q + 32 * j))), set1(u.scale[2 * j]), inner);
    return fma(inner, set1(x.scale), acc);
  }

#else
  static inline void unpack(const uint8_t* block, Unpacked& u) {
    static const int8_t kLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                       1,    13,   25,  38,  53,  69,  89,  113};
    for (int n = 0; n < 256; ++n) {
      const uint8_t pair = block[kNibbles + 16 * (n / 32) + n % 16];
      u.w[n] = kLevels[n % 32 < 16 ? pair & 15 : pair >> 4];
    }
    read_scales(block, u.scales);
    u.d = f16_value(block);
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
