// Q5_0: 32 values in 22 bytes: f16 d, a fifth bit per value, nibbles. Value = d * (q - 16).
#pragma once
#include "backends/cpu/formats/nibbles.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q5_0 {
  static constexpr int64_t kBlockBytes = 22, kBlockValues = 32;
  static constexpr int kGroup = 32, kOffset = 16;
  static constexpr bool kHasMin = false;

  static inline void scales(const uint8_t* chunk, float* scale, float*) {
    block_factors<kBlockBytes>(chunk, scale);
  }
#if RUNNEL_SIMD_BITS == 512
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + 2 * i * kBlockBytes;
    const auto bits = static_cast<__mmask64>(load_32(p + 2)) |
                      static_cast<__mmask64>(load_32(p + kBlockBytes + 2)) << 32;
    const I low = nibble_pair(p + 6, p + kBlockBytes + 6);
    return _mm512_mask_add_epi8(low, bits, low, _mm512_set1_epi8(16));
  }
#elif RUNNEL_SIMD_BITS == 256
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + i * kBlockBytes;
    return _mm256_or_si256(nibbles(p + 6), fifth_bits(p + 2));
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + i / 2 * kBlockBytes;
    return as_signed(vorrq_u8(half_nibbles(p + 6, i % 2), fifth_bits(p + 2 + i % 2 * 2)));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    const int fifth = (p[2 + i / 8] >> (i % 8)) & 1;
    return static_cast<int8_t>((nibble(p + 6, i) | fifth << 4) - kOffset);
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
