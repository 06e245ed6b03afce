// Q4_0: 32 values in 18 bytes: f16 d, nibbles. Value = d * (q - 8).
#pragma once
#include "backends/cpu/formats/nibbles.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q4_0 {
  static constexpr int64_t kBlockBytes = 18, kBlockValues = 32;
  static constexpr int kGroup = 32, kOffset = 8;
  static constexpr bool kHasMin = false;

  static inline void scales(const uint8_t* chunk, float* scale, float*) {
    block_factors<kBlockBytes>(chunk, scale);
  }
#if RUNNEL_SIMD_BITS == 512
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + 2 * i * kBlockBytes;
    return nibble_pair(p + 2, p + kBlockBytes + 2);
  }
  static inline I split(const uint8_t* chunk, int i) {
    return half_nibbles(four_blocks<kBlockBytes>(chunk + i / 2 * 4 * kBlockBytes + 2), i % 2);
  }
#elif RUNNEL_SIMD_BITS == 256
  static inline I values(const uint8_t* chunk, int i) {
    return nibbles(chunk + i * kBlockBytes + 2);
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* chunk, int i) {
    return as_signed(half_nibbles(chunk + i / 2 * kBlockBytes + 2, i % 2));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    return static_cast<int8_t>(nibble(p + 2, i) - kOffset);
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
