// Adds a weight chunk's products to the chains of T tokens with NEON, four groups at a time: the
// lanes of a result are groups, so two registers hold the eight chains. Instructions per weight of
// a format with groups of 32, counted in the source (loads of weights and scales included):
//   per token  0.16 with dot products, 0.28 without: per 128 weights 8 loads, 8 (24) for dots,
//              3 to gather, 7 to scale (11 with minimums)
//   unpacking  q8_0 0.06, q4_0 and q4_k 0.09, q5_k 0.16, q6_k 0.25; once for up to 4 tokens
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
    }
  }
}

}  // namespace runnel::cpu::RUNNEL_ISA
