// The 16 levels of the iq4 formats. SOURCE: ggml kvalues_iq4nl.
#pragma once
#include "backends/cpu/isa/simd.h"

namespace runnel::cpu::RUNNEL_ISA {

#if RUNNEL_SIMD_BITS <= 128
static const int8_t kLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};
#else
/// Levels + 128.
static inline __m128i stored_levels() {
  return _mm_xor_si128(
      _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113),
      _mm_set1_epi8(-128));
}
#endif

#if RUNNEL_SIMD_BITS > 0
/// The levels of nibbles; above 128 bits + 128.
static inline I levels_of(I nibbles) {
#if RUNNEL_SIMD_BITS == 512
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(stored_levels()), nibbles);
#elif RUNNEL_SIMD_BITS == 256
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(stored_levels()), nibbles);
#else
  return vqtbl1q_s8(load_i8(kLevels), vreinterpretq_u8_s8(nibbles));
#endif
}
#endif

}  // namespace runnel::cpu::RUNNEL_ISA
