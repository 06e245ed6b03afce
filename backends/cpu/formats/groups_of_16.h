// What q6_k and q3_k share: 256 values in 16 groups of 16, value = d * scale[group] * (q - kOffset)
// with q stored unsigned. Products use the stored q; what the offset adds is taken off with the
// sums of the activations.
#pragma once
#include "backends/cpu/isa/kernels.h"
#include "backends/cpu/isa/simd.h"

namespace runnel::cpu::RUNNEL_ISA {

template <int kOffset>
struct GroupsOf16 {
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
  /// What the stored offset adds: kOffset d * sum over groups of scale * (sum of x), 8 partial
  /// sums.
  static inline __m256 excess(__m256i scales, float d, const int16_t* sums) {
    const __m256i s = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_madd_epi16(scales, s)),
                         _mm256_set1_ps(static_cast<float>(kOffset) * d));
  }
#endif

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
  struct Unpacked {
    I w[4];      // 64 stored values each
    F scale[4];  // d * scale of each lane's group
    __m256i scales;
    float d;
  };
  /// packed: 16 int8 scales.
  static inline void set_scales(__m128i packed, float d, Unpacked& u) {
    u.d = d;
    u.scales = _mm256_cvtepi8_epi16(packed);
    const F all = mul(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(packed)), set1(d));
    const I group = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    for (int c = 0; c < 4; ++c)
      u.scale[c] = _mm512_permutexvar_ps(_mm512_add_epi32(group, _mm512_set1_epi32(4 * c)), all);
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
  static inline void set_scales(__m128i packed, float d, Unpacked& u) {
    u.d = d;
    u.scales = _mm256_cvtepi8_epi16(packed);
    const __m128i first = _mm256_castsi256_si128(u.scales);
    const __m128i last = _mm256_extracti128_si256(u.scales, 1);
    store(u.scale, mul(to_float(_mm256_cvtepi16_epi32(first)), set1(d)));
    store(u.scale + 8, mul(to_float(_mm256_cvtepi16_epi32(last)), set1(d)));
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
    int8_t w[256];  // offset taken off
    int8_t scales[16];
    float d;
  };
  static inline float accumulate(const Unpacked& u, const Superblock& x, float acc) {
    int32_t dots = 0;
    for (int j = 0; j < 16; ++j) dots += u.scales[j] * dot_signed(u.w + 16 * j, x.q + 16 * j, 16);
    return acc + u.d * static_cast<float>(dots) * x.scale;
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
