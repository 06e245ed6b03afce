// The f32 products of attention with a block of 64 keys: scores, and weighted sums of values.
#pragma once
#include "backends/cpu/isa/attention_tile.h"

namespace runnel::cpu::RUNNEL_ISA {

// Rows and registers of a tile: 6 x 4 of 32 registers, 4 x 2 or 2 x 2 of 16.
constexpr bool kHas32 = RUNNEL_SIMD_BITS == 512 || RUNNEL_SIMD_BITS == 128;
constexpr int kRows = kHas32 ? 6 : kLanes == 8 ? 4 : 2;
constexpr int kColumns = kHas32 ? 4 : 2;

// Scores of R rows with C registers of keys from `key` on.
template <int R, int C>
inline void score(const Tile& tile, int64_t dh, int64_t r0, int64_t key) {
  F acc[R][C];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) acc[r][c] = zero();
  const float *q = tile.q + r0 * tile.dim, *k = tile.k + key;
  for (int64_t i = 0; i < dh; ++i, k += kPage) {
    F keys[C];
    for (int c = 0; c < C; ++c) keys[c] = load(k + c * kLanes);
    for (int r = 0; r < R; ++r) {
      const F value = set1(q[r * tile.dim + i]);
      for (int c = 0; c < C; ++c) acc[r][c] = fma(value, keys[c], acc[r][c]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) store(tile.weight + (r0 + r) * kPage + key + c * kLanes, acc[r][c]);
}

template <int R>
inline void score_rows(const Tile& tile, int64_t dh, int64_t r, int64_t lo, int64_t hi) {
  constexpr int64_t kStep = kColumns * kLanes;
  for (int64_t key = lo / kStep * kStep; key < hi; key += kStep)
    score<R, kColumns>(tile, dh, r, key);
}

// The same for all R rows of a tile, without the way through scratch: pays for a token alone.
// page.block(key, i, block): kLanes keys from `key` on, dimensions from i on, transposed.
template <int R, class Page>
inline void score_slots(const Page& page, const Tile& tile, int64_t lo, int64_t hi) {
  const int64_t dh = page.dh;
  for (int64_t key = lo / kLanes * kLanes; key < hi; key += kLanes) {
    F acc[R];
    for (int r = 0; r < R; ++r) acc[r] = zero();
    for (int64_t i = 0; i < dh; i += kLanes) {
      F block[kLanes];
      page.block(key, i, block);
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j)
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r)
          acc[r] = fma(set1(tile.q[r * tile.dim + i + j]), block[j], acc[r]);
    }
    for (int r = 0; r < R; ++r) store(tile.weight + r * kPage + key, acc[r]);
  }
}

// out[r] = out[r] * shrink[r] + sum over keys [lo, hi) of weight[r][key] * v[key].
// value_at(key, i): kLanes values of a slot.
template <int R, int C, class Values>
inline void add_values(
    const Tile& tile, const Values& value_at, int64_t r0, int64_t c0, int64_t lo, int64_t hi) {
  F acc[R][C];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c)
      acc[r][c] =
          mul(load(tile.out + (r0 + r) * tile.dim + c0 + c * kLanes), set1(tile.shrink[r0 + r]));
  for (int64_t key = lo; key < hi; ++key) {
    F value[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) value[c] = value_at(key, c0 + c * kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const F weight = set1(tile.weight[(r0 + r) * kPage + key]);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) acc[r][c] = fma(weight, value[c], acc[r][c]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) store(tile.out + (r0 + r) * tile.dim + c0 + c * kLanes, acc[r][c]);
}

template <int R, class Values>
inline void add_value_rows(
    const Tile& tile, const Values& value_at, int64_t r, int64_t lo, int64_t hi) {
  int64_t c = 0;
  for (; c + kColumns * kLanes <= tile.dim; c += kColumns * kLanes)
    add_values<R, kColumns>(tile, value_at, r, c, lo, hi);
  for (; c < tile.dim; c += kLanes) add_values<R, 1>(tile, value_at, r, c, lo, hi);
}

// Calls function.operator()<R>(row) for all rows, most of them kRows at a time.
template <class Function>
inline void for_rows(int64_t n_rows, const Function& function) {
  int64_t r = 0;
  for (; r + kRows <= n_rows; r += kRows) function.template operator()<kRows>(r);
  if constexpr (kRows > 4)
    for (; r + 4 <= n_rows; r += 4) function.template operator()<4>(r);
  if constexpr (kRows > 2)
    for (; r + 2 <= n_rows; r += 2) function.template operator()<2>(r);
  for (; r < n_rows; ++r) function.template operator()<1>(r);
}

// Calls function.operator()<n_rows>(0). REQUIRES: 1 <= n_rows <= R.
template <int R = kRows, class Function>
inline void for_few_rows(int64_t n_rows, const Function& function) {
  if constexpr (R > 1)
    if (n_rows < R) return for_few_rows<R - 1>(n_rows, function);
  function.template operator()<R>(0);
}

}  // namespace runnel::cpu::RUNNEL_ISA
