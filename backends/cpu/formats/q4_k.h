// Q4_K: 256 values in 144 bytes: factors as in scales6.h, then 128 bytes of nibbles: group j of
// chunk c = j / 2 has the low (j even) or high nibbles of the 32 bytes at 16 + 32 c.
#pragma once
#include "backends/cpu/formats/scales6.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q4_K {
  static constexpr int64_t kBlockBytes = 144, kBlockValues = 256;
  static constexpr int kGroup = 32, kOffset = 0;
  static constexpr bool kHasMin = true;

  static inline void scales(const uint8_t* chunk, float* scale, float* min) {
    scales6<kBlockBytes>(chunk, scale, min);
  }
#if RUNNEL_SIMD_BITS == 512
  static inline I values(const uint8_t* chunk, int i) {
    return low_and_high(chunk + i / 4 * kBlockBytes + 16 + 32 * (i % 4));
  }
#elif RUNNEL_SIMD_BITS == 256
  static inline I values(const uint8_t* chunk, int i) {
    return low_or_high(chunk + i / 8 * kBlockBytes + 16 + 32 * (i % 8 / 2), i % 2);
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* chunk, int i) {
    const int group = i % 16 / 2;
    const uint8_t* p = chunk + i / 16 * kBlockBytes + 16 + group / 2 * 32 + i % 2 * 16;
    return as_signed(half_nibbles(p, group % 2));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    const uint8_t pair = p[16 + 32 * (i / 64) + i % 32];
    return static_cast<int8_t>(i % 64 < 32 ? pair & 15 : pair >> 4);
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
