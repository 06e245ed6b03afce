// Loops that do nothing but read memory, or multiply and add in registers: what this ISA level gets
// out of the hardware at best. Included by ISA files and by baseline files alike.
#pragma once
#include <stdint.h>

namespace runnel::cpu {

struct CeilingLoops {
  /// Sum of n floats at p, 64-byte aligned, asked for `ahead` floats before their use (0: not at
  /// all). REQUIRES: n is a multiple of 64.
  float (*read)(const float* p, int64_t n, int64_t ahead);
  /// Do `rounds` rounds and return the operations done, two per multiply-add of two values; 0 when
  /// the CPU has no such instructions.
  int64_t (*int8)(int64_t rounds);
  int64_t (*bf16)(int64_t rounds);
  int64_t (*f32)(int64_t rounds);
};

}  // namespace runnel::cpu
