// Q4_K: 256 values in 144 bytes: factors and nibbles as in scales6.h.
#pragma once
#include "backends/cpu/formats/scales6.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q4_K : Block6<144, 15> {
#if RUNNEL_SIMD_BITS == 512
  static inline I values(const uint8_t* chunk, int i) {
    return low_bits(chunk + i / 4 * kBlockBytes, i % 4);
  }
  static inline I pair(const uint8_t* chunk, int i) {
    return low_bits_of_four(chunk + i / 4 * kBlockBytes, i / 2 % 2, i % 2);
  }
#elif RUNNEL_SIMD_BITS == 256
  static inline I values(const uint8_t* chunk, int i) {
    return low_bits(chunk + i / 8 * kBlockBytes, i % 8);
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* chunk, int i) {
    return as_signed(low_bits(chunk + i / 16 * kBlockBytes, i % 16));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    return static_cast<int8_t>(low_bits(p, i));
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
