// Q4_1: 32 values in 20 bytes: f16 d and m, nibbles. Value = d * q + m.
#pragma once
#include "backends/cpu/formats/nibbles.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q4_1 {
  static constexpr int64_t kBlockBytes = 20, kBlockValues = 32;
  static constexpr int kGroup = 32, kOffset = 0;
  static constexpr bool kHasMin = true;

  static inline void scales(const uint8_t* chunk, float* scale, float* min) {
    block_factors<kBlockBytes>(chunk, scale);
    block_factors<kBlockBytes>(chunk + 2, min);
  }
#if RUNNEL_SIMD_BITS == 512
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + 2 * i * kBlockBytes;
    return nibble_pair(p + 4, p + kBlockBytes + 4);
  }
  static inline I split(const uint8_t* chunk, int i) {
    return half_nibbles(four_blocks<kBlockBytes>(chunk + i / 2 * 4 * kBlockBytes + 4), i % 2);
  }
#elif RUNNEL_SIMD_BITS == 256
  static inline I values(const uint8_t* chunk, int i) {
    return nibbles(chunk + i * kBlockBytes + 4);
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* chunk, int i) {
    return as_signed(half_nibbles(chunk + i / 2 * kBlockBytes + 4, i % 2));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    return static_cast<int8_t>(nibble(p + 4, i) - kOffset);
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
