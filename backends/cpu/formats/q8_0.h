// Q8_0: 32 values in 34 bytes: f16 scale, then int8 values. load_step: kBlocksPerStep blocks.
#pragma once
#include "backends/cpu/isa/simd.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q8_0 {
  static constexpr int64_t kBlockBytes = 34;

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
  struct Step {
    I w;      // values + 128: the instruction wants one unsigned factor
    F scale;  // lanes 0..7: first block, 8..15: second
  };
  /// two: both blocks exist, else the second counts nothing (its activations are zero).
  template <bool two>
  static inline Step load_step(const uint8_t* p) {
    I values = _mm512_zextsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 2)));
    __m256i scale = _mm256_set1_epi16(load_scale(p));
    if (two) {
      const uint8_t* q = p + kBlockBytes;
      values = _mm512_inserti64x4(values,
                                  _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q + 2)), 1);
      scale = _mm256_mask_set1_epi16(scale, 0xFF00, load_scale(q));
    } else {
      scale = _mm256_zextsi128_si256(_mm256_castsi256_si128(scale));
    }
    return {_mm512_xor_si512(values, _mm512_set1_epi8(-128)), _mm512_cvtph_ps(scale)};
  }
  /// What the added 128 adds to a dot product with x.
  static inline I excess(I x) {
    return dot_unsigned(_mm512_set1_epi8(-128), x);
  }
  static inline F dot(I w, I x, I excess_of_x) {
    return to_float(_mm512_sub_epi32(dot_unsigned(w, x), excess_of_x));
  }

#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
  struct Step {
    I w;
    F scale;
  };
  template <bool>
  static inline Step load_step(const uint8_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 2)),
            _mm256_cvtph_ps(_mm_set1_epi16(load_scale(p)))};
  }
  static inline int excess(I) {
    return 0;
  }
  static inline F dot(I w, I x, int) {
    return to_float(dot_signed(w, x));
  }

#else
  struct Step {
    I w;
    float scale;
  };
  template <bool>
  static inline Step load_step(const uint8_t* p) {
    Step step;
    memcpy(step.w.v, p + 2, sizeof step.w.v);
    step.scale = f16_value(p);
    return step;
  }
  static inline int excess(const I&) {
    return 0;
  }
  static inline float dot(const I& w, const I& x, int) {
    return static_cast<float>(dot_signed(w.v, x.v, 32));
  }
#endif

  static inline int16_t load_scale(const uint8_t* p) {
    int16_t bits;
    memcpy(&bits, p, sizeof bits);
    return bits;
  }
};

}  // namespace runnel::cpu::RUNNEL_ISA
