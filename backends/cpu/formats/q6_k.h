// Q6_K: 256 values in 210 bytes: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 int8
// scales of 16 values each, f16 d. Value = d * scale * (q - 32).
// SOURCE: ggml block_q6_K; of half h the 64 bytes at 64 h hold values 0..63 (low nibbles) and
// 64..127 (high), the 32 bytes at 128 + 32 h hold the upper bits of values r, r + 32, r + 64, r
// + 96.
#pragma once
#include "backends/cpu/isa/kernels.h"
#include "backends/cpu/isa/simd.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q6_K {
  static constexpr int64_t kBlockBytes = 210;
  static constexpr int kHigh = 128, kScales = 192, kD = 208;  // byte offsets

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
  /// 16 scales in 16 bits.
  static inline __m256i wide_scales(const uint8_t* block) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block + kScales)));
  }
  /// What the stored + 32 adds: 32 d * sum over groups of scale * (sum of x), 8 partial sums.
  static inline __m256 excess(__m256i scales, float d, const int16_t* sums) {
    const __m256i s = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_madd_epi16(scales, s)),
                         _mm256_set1_ps(32.0f * d));
  }
#endif

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
  struct Unpacked {
    I w[4];      // 64 stored values each
    F scale[4];  // d * scale of each lane's group
    __m256i scales;
    float d;
  };
  static inline void unpack(const uint8_t* block, Unpacked& u) {
    u.d = f16_value(block + kD);
    const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + kScales));
    const F all = mul(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(packed)), set1(u.d));
    const I group = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
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
    for (int c = 0; c < 4; ++c)
      u.scale[c] = _mm512_permutexvar_ps(_mm512_add_epi32(group, _mm512_set1_epi32(4 * c)), all);
    u.scales = wide_scales(block);
  }
  static inline F accumulate(const Unpacked& u, const Superblock& x, F acc) {
    F inner = _mm512_zextps256_ps512(excess(u.scales, -u.d, x.sums));
    for (int c = 0; c < 4; ++c)
      inner = fma(to_float(dot_unsigned(u.w[c], load_i8(x.q + 64 * c))), u.scale[c], inner);
    return fma(inner, set1(x.scale), acc);
  }

#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
  struct Unpacked {
    I w[8];  // 32 stored values each
    float scale[16];
    __m256i scales;
    float d;
  };
  static inline void unpack(const uint8_t* block, Unpacked& u) {
    u.d = f16_value(block + kD);
    u.scales = wide_scales(block);
    const __m128i first = _mm256_castsi256_si128(u.scales);
    const __m128i last = _mm256_extracti128_si256(u.scales, 1);
    store(u.scale, mul(to_float(_mm256_cvtepi16_epi32(first)), set1(u.d)));
    store(u.scale + 8, mul(to_float(_mm256_cvtepi16_epi32(last)), set1(u.d)));
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
  static inline F accumulate(const Unpacked& u, const Superblock& x, F acc) {
    F inner = excess(u.scales, -u.d, x.sums);
    for (int j = 0; j < 8; ++j) {
      const F scale = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_set1_ps(u.scale[2 * j])),
                                           _mm_set1_ps(u.scale[2 * j + 1]), 1);
      inner = fma(to_float(dot_unsigned(u.w[j], load_i8(x.q + 32 * j))), scale, inner);
    }
    return fma(inner, set1(x.scale), acc);
  }

#else
  struct Unpacked {
    int8_t w[256];
    int8_t scales[16];
    float d;
  };
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
  static inline float accumulate(const Unpacked& u, const Superblock& x, float acc) {
    int32_t dots = 0;
    for (int j = 0; j < 16; ++j) dots += u.scales[j] * dot_signed(u.w + 16 * j, x.q + 16 * j, 16);
    return acc + u.d * static_cast<float>(dots) * x.scale;
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
