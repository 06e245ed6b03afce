// IQ4_NL: 32 values in 18 bytes: f16 d, nibbles. Value = d * level[nibble].
#pragma once
#include "backends/cpu/formats/block32.h"
#include "backends/cpu/formats/levels.h"

namespace runnel::cpu::RUNNEL_ISA {

struct IQ4_NL : Block32<18, 128, false, 255> {
  using Nibbles = NibbleBlock<kBlockBytes, 0, false>;

#if RUNNEL_SIMD_BITS == 0
  static inline int8_t value(const uint8_t* p, int i) {
    return kLevels[Nibbles::value(p, i)];
  }
#else
  static inline I values(const uint8_t* chunk, int i) {
    return levels_of(Nibbles::values(chunk, i));
  }
#if RUNNEL_SIMD_BITS == 512
  static inline I split(const uint8_t* chunk, int i) {
    return levels_of(Nibbles::split(chunk, i));
  }
#endif
#endif
};

}  // namespace runnel::cpu::RUNNEL_ISA
