// Q4_K: 256 values in 144 bytes: f16 d and dmin, 12 bytes of 6-bit scales and mins for 8 groups of
// 32, 128 bytes of nibbles. Value = d * scale[j] * nibble - dmin * min[j].
// SOURCE: ggml block_q4_K; group j of chunk c = j / 2 has the low (j even) or high nibbles of the
// 32 bytes at 16 + 32 c.
#pragma once
#include "backends/cpu/isa/kernels.h"
#include "backends/cpu/isa/simd.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q4_K {
  static constexpr int64_t kBlockBytes = 144;

  struct Groups {
    uint8_t scale[8], min[8];
  };
  static inline Groups groups(const uint8_t* block) {
    uint32_t a, b, c;  // bytes 0..3, 4..7, 8..11 of the packed scales
    memcpy(&a, block + 4, 4);
    memcpy(&b, block + 8, 4);
    memcpy(&c, block + 12, 4);
    const uint32_t low_scale = a & 0x3F3F3F3Fu, low_min = b & 0x3F3F3F3Fu;
    const uint32_t high_scale = (c & 0x0F0F0F0Fu) | ((a >> 2) & 0x30303030u);
    const uint32_t high_min = ((c >> 4) & 0x0F0F0F0Fu) | ((b >> 2) & 0x30303030u);
    Groups g;
    memcpy(g.scale, &low_scale, 4);
    memcpy(g.scale + 4, &high_scale, 4);
    memcpy(g.min, &low_min, 4);
    memcpy(g.min + 4, &high_min, 4);
    return g;
  }

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
  /// dmin * sum over groups of min[j] * (sum of x in group j), as 8 partial sums.
  static inline __m256 mins_dot(__m256i mins, float dmin, const int16_t* sums) {
    const __m256i s = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_madd_epi16(mins, s)), _mm256_set1_ps(dmin));
  }
  /// Each min twice, in 16 bits: sums come per 16 values.
  static inline __m256i twice(const uint8_t* mins) {
    const __m128i m = _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(mins)));
    return _mm256_set_m128i(_mm_unpackhi_epi16(m, m), _mm_unpacklo_epi16(m, m));
  }
  /// d * scale[j] in lane j.
  static inline __m256 scales(const Groups& g, float d) {
    const __m128i s = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(g.scale));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(s)), _mm256_set1_ps(d));
  }
#endif

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
  struct Unpacked {
    I w[4];      // 64 nibbles each
    F scale[4];  // d * scale of each lane's group
    __m256i mins;
    float dmin;
  };
  static inline void unpack(const uint8_t* block, Unpacked& u) {
    const Groups g = groups(block);
    const I shift = _mm512_setr_epi64(0, 0, 0, 0, 0x0004000400040004, 0x0004000400040004,
                                      0x0004000400040004, 0x0004000400040004);
    const F all = _mm512_zextps256_ps512(scales(g, f16_value(block)));
    const I second = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    for (int c = 0; c < 4; ++c) {
      const I bytes = _mm512_broadcast_i64x4(
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 16 + 32 * c)));
      u.w[c] = _mm512_and_si512(_mm512_srlv_epi16(bytes, shift), _mm512_set1_epi8(15));
      u.scale[c] = _mm512_permutexvar_ps(_mm512_add_epi32(second, _mm512_set1_epi32(2 * c)), all);
    }
    u.mins = twice(g.min);
    u.dmin = f16_value(block + 2);
  }
  static inline F accumulate(const Unpacked& u, const Superblock& x, F acc) {
    F inner = _mm512_zextps256_ps512(mins_dot(u.mins, -u.dmin, x.sums));
    for (int c = 0; c < 4; ++c)
      inner = fma(to_float(dot_unsigned(u.w[c], load_i8(x.q + 64 * c))), u.scale[c], inner);
    return fma(inner, set1(x.scale), acc);
  }

#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
  struct Unpacked {
    I w[8];  // 32 nibbles each
    float scale[8];
    __m256i mins;
    float dmin;
  };
  static inline void unpack(const uint8_t* block, Unpacked& u) {
    const Groups g = groups(block);
    for (int c = 0; c < 4; ++c) {
      const I bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 16 + 32 * c));
      u.w[2 * c] = _mm256_and_si256(bytes, _mm256_set1_epi8(15));
      u.w[2 * c + 1] = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
    }
    store(u.scale, scales(g, f16_value(block)));
    u.mins = twice(g.min);
    u.dmin = f16_value(block + 2);
  }
  static inline F accumulate(const Unpacked& u, const Superblock& x, F acc) {
    F inner = mins_dot(u.mins, -u.dmin, x.sums);
    for (int j = 0; j < 8; ++j)
      inner = fma(to_float(dot_unsigned(u.w[j], load_i8(x.q + 32 * j))), set1(u.scale[j]), inner);
    return fma(inner, set1(x.scale), acc);
  }

#else
  struct Unpacked {
    int8_t w[256];
    Groups g;
    float d, dmin;
  };
  static inline void unpack(const uint8_t* block, Unpacked& u) {
    u.g = groups(block);
    for (int c = 0; c < 4; ++c)
      for (int i = 0; i < 32; ++i) {
        u.w[64 * c + i] = static_cast<int8_t>(block[16 + 32 * c + i] & 15);
        u.w[64 * c + 32 + i] = static_cast<int8_t>(block[16 + 32 * c + i] >> 4);
      }
    u.d = f16_value(block);
    u.dmin = f16_value(block + 2);
  }
  static inline float accumulate(const Unpacked& u, const Superblock& x, float acc) {
    int32_t dots = 0, mins = 0;
    for (int j = 0; j < 8; ++j) {
      dots += u.g.scale[j] * dot_signed(u.w + 32 * j, x.q + 32 * j, 32);
      mins += u.g.min[j] * (x.sums[2 * j] + x.sums[2 * j + 1]);
    }
    return acc + (u.d * static_cast<float>(dots) - u.dmin * static_cast<float>(mins)) * x.scale;
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
