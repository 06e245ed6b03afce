// Q8_0: 32 values in 34 bytes: f16 d, int8 q. Value = d * q; products take q + 128, unsigned.
#pragma once
#include "backends/cpu/formats/block32.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q8_0 : Block32<34, 128, false, 255> {
#if RUNNEL_SIMD_BITS == 512
  static inline I values(const uint8_t* chunk, int i) {
    const uint8_t* p = chunk + 2 * i * kBlockBytes;
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + kData));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + kBlockBytes + kData));
    const I both = _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
    return _mm512_xor_si512(both, _mm512_set1_epi8(-128));
  }
#elif RUNNEL_SIMD_BITS == 256
  static inline I values(const uint8_t* chunk, int i) {
    const auto* p = reinterpret_cast<const __m256i*>(chunk + i * kBlockBytes + kData);
    return _mm256_xor_si256(_mm256_loadu_si256(p), _mm256_set1_epi8(-128));
  }
#elif RUNNEL_SIMD_BITS == 128
  static inline I values(const uint8_t* chunk, int i) {
    return as_signed(vld1q_u8(chunk + i / 2 * kBlockBytes + kData + i % 2 * 16));
  }
#else
  static inline int8_t value(const uint8_t* p, int i) {
    return static_cast<int8_t>(p[kData + i]);
  }
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
