// IQ4_NL: 32 values in 18 bytes: f16 d, nibbles. Value = d * level[nibble].
#pragma once
#include "backends/cpu/formats/levels.h"
#include "backends/cpu/formats/nibbles.h"

namespace runnel::cpu::RUNNEL_ISA {

struct IQ4_NL {
  static constexpr int64_t kBlockBytes = 18, kBlockValues = 32;
  static constexpr int kGroup = 32, kOffset = 128;
  static constexpr bool kHasMin = false;

  static inline void scales(const uint8_t* chunk, float* scale, float*) {
    block_factors<kBlockBytes>(chunk, scale);
  }
#if RUNNEL_SIMD_BITS == 512
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + 2 * i * kBlockBytes;
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(stored_levels()),
                               nibble_pair(p + 2, p + kBlockBytes + 2));
  }
  static inline I split(const uint8_t* chunk, int i) {
    return _mm512_shuffle_epi8(
        _mm512_broadcast_i32x4(stored_levels()),
        half_nibbles(four_blocks<kBlockBytes>(chunk + i / 2 * 4 * kBlockBytes + 2), i % 2));
  }
#elif RUNNEL_SIMD_BITS == 256
  static inline I values(const uint8_t* chunk, int i) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(stored_levels()),
                               nibbles(chunk + i * kBlockBytes + 2));
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* chunk, int i) {
    return levels_of(half_nibbles(chunk + i / 2 * kBlockBytes + 2, i % 2));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    return kLevels[nibble(p + 2, i)];
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
