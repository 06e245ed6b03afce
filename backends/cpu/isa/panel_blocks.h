// Panels of 4 blocks of 8 rows, for AVX2 and NEON: a block's group, in PanelOrder, is its values
// [group / word][8 rows][word values], then 8 scales and perhaps 8 minimums. A product keeps 8 rows
// x T tokens in registers.
#pragma once
#include "backends/cpu/isa/panel_avx2.h"
#include "backends/cpu/isa/panel_neon.h"

#if RUNNEL_SIMD_BITS == 256 || (RUNNEL_SIMD_BITS == 128 && defined(__ARM_FEATURE_DOTPROD))
namespace runnel::cpu::RUNNEL_ISA {

template <int T>
constexpr int kBlockRegisters = kBlockRows* T / kLanes;

template <int T>
struct Block {
  F v[kBlockRegisters<T>];

  inline void clear() {
#pragma GCC unroll 12
    for (int i = 0; i < kBlockRegisters<T>; ++i) v[i] = zero();
  }
  /// this = held + this
  inline void add_to(const Block& held) {
#pragma GCC unroll 12
    for (int i = 0; i < kBlockRegisters<T>; ++i) v[i] = add(held.v[i], v[i]);
  }
};

// One block with a tile; y: of the block's first row, held: its sums.
template <class Format, int T>
void multiply_block(
    const PanelTask& task, const uint8_t* w, int64_t n_rows, float* y, Block<T>* held) {
  const auto* x = static_cast<const TileGroup<Format::kGroup>*>(task.x) - task.first;
  Block<T> chain;
  const auto add = [&](int64_t place, Block<T>& sums) {
    add_group<Format, T>(w + place * kBlockGroupBytes<Format>, x[place], sums.v);
  };
  if (!sum_chains(task, PanelOrder(task.k / Format::kGroup), held, chain, add)) return;
  float sums[T][kBlockRows];
#pragma GCC unroll 12
  for (int i = 0; i < kBlockRegisters<T>; ++i) {
    float lanes[kLanes];
    store(lanes, chain.v[i]);
    for (int l = 0; l < kLanes; ++l) sums[token_of<T>(i, l)][row_of<T>(i, l)] = lanes[l];
  }
  for (int64_t t = 0; t < T && t < task.n_tokens; ++t)
    memcpy(y + t * task.y_stride, sums[t], static_cast<size_t>(n_rows) * sizeof(float));
}

template <class Format, int T>
void multiply_panel(const PanelTask& task) {
  const auto* w = static_cast<const uint8_t*>(task.panel);
  const int64_t bytes = task.k / Format::kGroup * kBlockGroupBytes<Format>;
  auto* held = reinterpret_cast<Block<T>*>(task.sums);
  for (int64_t row = 0; row < task.n_rows; row += kBlockRows, w += bytes, held += 4) {
    const int64_t left = task.n_rows - row;
    multiply_block<Format, T>(task, w, left < kBlockRows ? left : kBlockRows, task.y + row, held);
  }
}

}  // namespace runnel::cpu::RUNNEL_ISA
#endif
