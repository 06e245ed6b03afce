// The AVX-512 part of panel.h. A panel's group is, in PanelOrder, bytes [group / 4][32 rows][4
// values] stored + 128, then 32 scales and perhaps 32 minimums. A product keeps 32 rows x T tokens
// in registers: per group of 32, token and 16 rows 8 dot instructions, a conversion, a product and
// a sum, so at best 8 of 11 vector instructions are dots; 8 loads feed 12 dots.
#pragma once
#include "backends/cpu/isa/matmul_rows.h"

#if RUNNEL_SIMD_BITS == 512
namespace runnel::cpu::RUNNEL_ISA {

// The 16 groups from `first` on of rows [row, row + 16) of the panel; rows: their chunks.
template <class Format>
void pack_chunk(const uint8_t* const* rows,
                int64_t row,
                int64_t first,
                const PanelOrder& order,
                uint8_t* panel) {
  constexpr int kWords = Format::kGroup / 4, kGroups = 64 / Format::kGroup;  // per register
  const auto place = [&](int64_t g) {
    return panel + 4 * row + order.place(first + g) * kPanelGroupBytes<Format>;
  };
  const I raise = _mm512_set1_epi8(static_cast<char>(128 - Format::kOffset));
  for (int i = 0; i < 16 / kGroups; ++i) {
    if (first + i * kGroups >= order.n_groups) break;
    F v[16];
    for (int r = 0; r < 16; ++r)
      v[r] = _mm512_castsi512_ps(_mm512_add_epi8(Format::values(rows[r], i), raise));
    transpose(v);
    for (int g = 0; g < kGroups && first + i * kGroups + g < order.n_groups; ++g)
      for (int word = 0; word < kWords; ++word)
        _mm512_storeu_ps(place(i * kGroups + g) + 4 * kPanelRows * word, v[g * kWords + word]);
  }
  alignas(64) float scale[16][16], min[16][16];
  for (int r = 0; r < 16; ++r) Format::scales(rows[r], scale[r], min[r]);
  const auto pack = [&](const float(*factors)[16], int64_t offset) {
    F v[16];
    for (int r = 0; r < 16; ++r) v[r] = load(factors[r]);
    transpose(v);
    for (int g = 0; g < 16 && first + g < order.n_groups; ++g)
      _mm512_storeu_ps(place(g) + offset, v[g]);
  };
  pack(scale, kPanelRows * Format::kGroup);
  if constexpr (Format::kHasMin) pack(min, kPanelRows * (Format::kGroup + 4));
}

inline I broadcast_word(const int8_t* x) {
  int32_t word;
  memcpy(&word, x, sizeof word);
  return _mm512_set1_epi32(word);
}

template <int T>
struct Block {
  F rows[2][T];

  inline void clear() {
#pragma GCC unroll 6
    for (int t = 0; t < T; ++t) rows[0][t] = rows[1][t] = zero();
  }
  /// this = held + this
  inline void add_to(const Block& held) {
#pragma GCC unroll 6
    for (int t = 0; t < T; ++t) {
      rows[0][t] = add(held.rows[0][t], rows[0][t]);
      rows[1][t] = add(held.rows[1][t], rows[1][t]);
    }
  }
};

template <int T>
inline void store_block(const PanelTask& task, const Block<T>& sums) {
  const uint32_t rows = task.n_rows < kPanelRows ? (1u << task.n_rows) - 1 : ~0u;
#pragma GCC unroll 6
  for (int t = 0; t < T; ++t)
    if (t < task.n_tokens) {
      float* y = task.y + t * task.y_stride;
      _mm512_mask_storeu_ps(y, static_cast<__mmask16>(rows), sums.rows[0][t]);
      _mm512_mask_storeu_ps(y + 16, static_cast<__mmask16>(rows >> 16), sums.rows[1][t]);
    }
}

// Adds one group's products to a chain of each row and token.
template <class Format, int T>
inline void add_group(const uint8_t* w, const TileGroup<Format::kGroup>& x, Block<T>& chain) {
  I dot[2][T];
#pragma GCC unroll 6
  for (int t = 0; t < T; ++t) dot[0][t] = dot[1][t] = _mm512_set1_epi32(x.start[t]);
#pragma GCC unroll 8
  for (int word = 0; word < Format::kGroup / 4; ++word) {
    const I first = _mm512_loadu_si512(w + 128 * word);
    const I second = _mm512_loadu_si512(w + 128 * word + 64);
#pragma GCC unroll 6
    for (int t = 0; t < T; ++t) {
      const I values = broadcast_word(x.q + 4 * (kPanelTokens * word + t));
      dot[0][t] = _mm512_dpbusd_epi32(dot[0][t], first, values);
      dot[1][t] = _mm512_dpbusd_epi32(dot[1][t], second, values);
    }
  }
  const auto* factors = reinterpret_cast<const float*>(w + kPanelRows * Format::kGroup);
#pragma GCC unroll 6
  for (int t = 0; t < T; ++t) {
    const F scale = set1(x.scale[t]);
    for (int h = 0; h < 2; ++h)
      chain.rows[h][t] =
          fma(to_float(dot[h][t]), mul(load(factors + 16 * h), scale), chain.rows[h][t]);
  }
  if constexpr (Format::kHasMin)
#pragma GCC unroll 6
    for (int t = 0; t < T; ++t) {
      const F sum = set1(x.scaled_sum[t]);
      for (int h = 0; h < 2; ++h)
        chain.rows[h][t] = fma(load(factors + kPanelRows + 16 * h), sum, chain.rows[h][t]);
    }
}

template <class Format, int T>
void multiply_panel(const PanelTask& task) {
  const auto* w = static_cast<const uint8_t*>(task.panel);
  const auto* x = static_cast<const TileGroup<Format::kGroup>*>(task.x) - task.first;
  Block<T> chain;
  const auto add = [&](int64_t place, Block<T>& sums) {
    add_group<Format, T>(w + place * kPanelGroupBytes<Format>, x[place], sums);
  };
  if (sum_chains(task, PanelOrder(task.k / Format::kGroup), reinterpret_cast<Block<T>*>(task.sums),
                 chain, add))
    store_block(task, chain);
}

}  // namespace runnel::cpu::RUNNEL_ISA
#endif
