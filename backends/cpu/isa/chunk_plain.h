// Adds a weight chunk's products to the chains of T tokens in plain C++: values are unpacked to
// int8 one by one, dots are loops that the compiler vectorises.
#pragma once
#include "backends/cpu/isa/activations.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Chains {
  float chain[kChains];
};
inline Chains no_chains() {
  return {};
}
inline float total(const Chains& chains) {
  float c[kChains];
  memcpy(c, chains.chain, sizeof c);
  for (int half = kChains / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) c[i] += c[i + half];
  return c[0];
}

template <class Format, int T>
inline void add_chunk(const uint8_t* w, const Chunk* const* x, int64_t chunk, Chains* chains) {
  float scale[16], min[16];
  Format::scales(w, scale, min);
  int8_t weight[kValues<Format>];
  for (int64_t i = 0; i < kValues<Format>; ++i)
    weight[i] = Format::value(w + i / Format::kBlockValues * Format::kBlockBytes,
                              static_cast<int>(i % Format::kBlockValues));
  for (int t = 0; t < T; ++t) {
    const Activations a = activations<Format>(x[t], chunk);
    for (int g = 0; g < 16; ++g) {
      const int at = g * Format::kGroup;
      const auto dot = static_cast<float>(dot_signed(weight + at, a.q + at, Format::kGroup));
      const float x_scale = a.scale[at / 32];
      float& chain = chains[t].chain[g % kChains];
      chain = multiply_add_one(dot, scale[g] * x_scale, chain);
      if constexpr (Format::kHasMin) chain = multiply_add_one(min[g], a.scaled_sum[g], chain);
    }
  }
}

}  // namespace runnel::cpu::RUNNEL_ISA
