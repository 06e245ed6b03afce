// Q5_1: 32 values in 24 bytes: f16 d and m, a fifth bit per value, nibbles. Value = d * q + m.
#pragma once
#include "backends/cpu/formats/nibbles.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q5_1 {
  static constexpr int64_t kBlockBytes = 24, kBlockValues = 32;
  static constexpr int kGroup = 32, kOffset = 0;
  static constexpr bool kHasMin = true;

  static inline void scales(const uint8_t* chunk, float* scale, float* min) {
    block_factors<kBlockBytes>(chunk, scale);
    block_factors<kBlockBytes>(chunk + 2, min);
  }
#if RUNNEL_SIMD_BITS == 512
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + 2 * i * kBlockBytes;
    const auto bits = static_cast<__mmask64>(load_32(p + 4)) |
                      static_cast<__mmask64>(load_32(p + kBlockBytes + 4)) << 32;
    const I low = nibble_pair(p + 8, p + kBlockBytes + 8);
    return _mm512_mask_add_epi8(low, bits, low, _mm512_set1_epi8(16));
  }
#elif RUNNEL_SIMD_BITS == 256
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + i * kBlockBytes;
    return _mm256_or_si256(nibbles(p + 8), fifth_bits(p + 4));
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + i / 2 * kBlockBytes;
    return as_signed(vorrq_u8(half_nibbles(p + 8, i % 2), fifth_bits(p + 4 + i % 2 * 2)));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    const int fifth = (p[4 + i / 8] >> (i % 8)) & 1;
    return static_cast<int8_t>((nibble(p + 8, i) | fifth << 4) - kOffset);
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
