// Adds a weight chunk's products to the chains of T tokens with NEON, four groups at a time: the
// lanes of a result are groups, so two registers hold the eight chains. Speed is unknown: nobody
// has run it on hardware. Instructions per weight and token in the loops that g++ 12 makes,
// unpacking, scales and prefetch included (dots alone: 1/16, without dot instructions 3/16):
//                          q8_0   q4_0   q4_k   q5_k   q6_k
//   dotprod,  1 token      0.34   0.40   0.62   0.89   0.79
//             4 tokens     0.25   0.27   0.37   0.42   0.55
//   baseline, 1 token      0.51   0.55   0.76   1.10   0.91
//             4 tokens     0.36   0.40   0.47   0.54   0.66
#pragma once
#include "backends/cpu/isa/activations.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Chains {
  F low, high;  // chains 0..3 and 4..7
};
inline Chains no_chains() {
  return {zero(), zero()};
}
inline float total(const Chains& chains) {
  return sum(add(chains.low, chains.high));
}

template <class Format, int T>
inline void add_chunk(const uint8_t* w, const Chunk* const* x, int64_t chunk, Chains* chains) {
  constexpr int kRegisters = Format::kGroup / 16;  // of a group
  float scale[16], min[16];
  Format::scales(w, scale, min);
#pragma GCC unroll 4
  for (int quarter = 0; quarter < 4; ++quarter) {
    const int first = quarter * 4 * kRegisters;
    I weight[4 * kRegisters];
#pragma GCC unroll 8
    for (int i = 0; i < 4 * kRegisters; ++i) weight[i] = Format::values(w, first + i);
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
      const Activations a = activations<Format>(x[t], chunk);
      Dots dots[4];
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) {
        dots[g] = vdupq_n_s32(0);
#pragma GCC unroll 2
        for (int i = g * kRegisters; i < (g + 1) * kRegisters; ++i)
          dots[g] = add_products(dots[g], weight[i], load_i8(a.q + 16 * (first + i)));
      }
      const Dots sums = vld1q_s32(a.sum + 4 * quarter);
      const F dot = to_float(take_offset<Format::kOffset>(sum_each(dots), sums));
      const F x_scale = group_scales<Format::kGroup>(a.scale, quarter);
      F& chain = quarter % 2 ? chains[t].high : chains[t].low;
      chain = fma(dot, mul(load(scale + 4 * quarter), x_scale), chain);
      if constexpr (Format::kHasMin)
        chain = fma(load(min + 4 * quarter), load(a.scaled_sum + 4 * quarter), chain);
      // Else g++ 12 loads all quarters' operands first and spills.
      if constexpr (T > 1) asm volatile("" : : : "memory");
    }
  }
}

}  // namespace runnel::cpu::RUNNEL_ISA
