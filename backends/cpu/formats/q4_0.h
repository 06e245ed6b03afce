// Q4_0: 32 values in 18 bytes: f16 scale, then 16 bytes whose low nibbles are values 0..15 and high
// nibbles values 16..31, each stored + 8. load_step: kBlocksPerStep blocks.
#pragma once
#include "backends/cpu/isa/simd.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q4_0 {
  static constexpr int64_t kBlockBytes = 18;

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
  struct Step {
    I w;      // stored nibbles
    F scale;  // lanes 0..7: first block, 8..15: second
  };
  /// two: both blocks exist, else the second is all zero.
  template <bool two>
  static inline Step load_step(const uint8_t* p) {
    I nibbles = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 2)));
    __m256i scale = _mm256_set1_epi16(load_scale(p));
    if (two) {
      const uint8_t* q = p + kBlockBytes;
      nibbles = _mm512_mask_broadcast_i32x4(
          nibbles, 0xFF00, _mm_loadu_si128(reinterpret_cast<const __m128i*>(q + 2)));
      scale = _mm256_mask_set1_epi16(scale, 0xFF00, load_scale(q));
    } else {
      scale = _mm256_zextsi128_si256(_mm256_castsi256_si128(scale));
    }
    const I shift = _mm512_setr_epi64(0, 0, 0x0004000400040004, 0x0004000400040004, 0, 0,
                                      0x0004000400040004, 0x0004000400040004);
    nibbles = _mm512_and_si512(_mm512_srlv_epi16(nibbles, shift), _mm512_set1_epi8(15));
    return {nibbles, _mm512_cvtph_ps(scale)};
  }
  /// What the stored + 8 adds to a dot product with x.
  static inline I excess(I x) {
    return dot_unsigned(_mm512_set1_epi8(8), x);
  }
  static inline F dot(I w, I x, I excess_of_x) {
    return to_float(_mm512_sub_epi32(dot_unsigned(w, x), excess_of_x));
  }

#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
  struct Step {
    I w;  // stored nibbles
    F scale;
  };
  template <bool>
  static inline Step load_step(const uint8_t* p) {
    const __m128i q = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 2));
    const I both = _mm256_set_m128i(_mm_srli_epi16(q, 4), q);
    return {_mm256_and_si256(both, _mm256_set1_epi8(15)),
            _mm256_cvtph_ps(_mm_set1_epi16(load_scale(p)))};
  }
  static inline I excess(I x) {
    return _mm256_maddubs_epi16(_mm256_set1_epi8(8), x);
  }
  static inline F dot(I w, I x, I excess_of_x) {
    const I pairs = _mm256_sub_epi16(_mm256_maddubs_epi16(w, x), excess_of_x);
    return to_float(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }

#else
  struct Step {
    I w;  // values
    float scale;
  };
  template <bool>
  static inline Step load_step(const uint8_t* p) {
    Step step;
    for (int i = 0; i < 16; ++i) {
      step.w.v[i] = static_cast<int8_t>((p[2 + i] & 15) - 8);
      step.w.v[16 + i] = static_cast<int8_t>((p[2 + i] >> 4) - 8);
    }
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
