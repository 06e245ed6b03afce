// Online softmax over blocks of 64 keys, shared by attention over rows and over tiles: a tile of
// rows (tokens x query heads of one KV head), its scores, weights and outputs in f32.
// A row walks the blocks in the same order whatever the tile holds besides: keys outside its range
// get weight zero, a block wholly outside changes nothing.
// SOURCE: Milakov and Gimelshein, arXiv:1805.02867.
#pragma once
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {

inline int64_t padded(int64_t head_dim) {
  return (head_dim + kLanes - 1) / kLanes * kLanes;
}
inline int64_t clamp_key(int64_t key) {
  return key < 0 ? 0 : key > kPage ? kPage : key;
}

// Scratch of a tile; every array starts at a multiple of 16 floats.
struct Tile {
  int64_t rows, dim;                // dim: padded head_dim
  float *q, *out, *weight;          // [rows, dim], [rows, dim], [rows, kPage]
  float *maximum, *total, *shrink;  // [rows]
  float *k, *v;                     // [dim, kPage], [kPage, dim]
};

inline int64_t whole(int64_t floats) {
  return (floats + 15) / 16 * 16;
}

// `rest`: where the scratch goes on.
template <class Task>
inline Tile divide(const Task& task, float** rest) {
  Tile tile;
  tile.rows = task.n_tokens * task.group;
  tile.dim = padded(task.head_dim);
  float* next = task.scratch;
  const auto take = [&next](int64_t floats) {
    float* taken = next;
    next += whole(floats);
    return taken;
  };
  tile.q = take(tile.rows * tile.dim);
  tile.out = take(tile.rows * tile.dim);
  tile.weight = take(tile.rows * kPage);
  tile.maximum = take(tile.rows);
  tile.total = take(tile.rows);
  tile.shrink = take(tile.rows);
  tile.k = take(kPage * tile.dim);
  tile.v = take(kPage * tile.dim);
  *rest = next;
  return tile;
}

// Row r of a tile: token r / group, head r % group.
template <class Task>
inline int64_t offset_of(const Task& task, int64_t r) {
  return r / task.group * task.row_stride + r % task.group * task.head_dim;
}

template <class Task>
inline void begin(const Task& task, const Tile& tile) {
  for (int64_t r = 0; r < tile.rows; ++r) {
    const float* q = task.q + offset_of(task, r);
    for (int64_t i = 0; i < tile.dim; ++i) {
      tile.q[r * tile.dim + i] = i < task.head_dim ? q[i] * task.scale : 0.0f;
      tile.out[r * tile.dim + i] = 0.0f;
    }
    tile.maximum[r] = -HUGE_VALF;
    tile.total[r] = 0.0f;
  }
}

// Gives the keys outside [lo, hi) no weight.
inline void mask_scores(float* scores, int64_t lo, int64_t hi) {
  const F none = set1(-HUGE_VALF);
  for (int64_t key = 0; key < kPage; key += kLanes)
    if (key < lo || key + kLanes > hi)
      store(scores + key, keep_range(load(scores + key), lo - key, hi - key, none));
}

// The largest score of row r, known from now on; its shrink is the maximum before.
inline void raise_maximum(const Tile& tile, int64_t r) {
  const float* score = tile.weight + r * kPage;
  F most = load(score);
  for (int64_t i = kLanes; i < kPage; i += kLanes) most = max(most, load(score + i));
  const float page_maximum = largest(most), before = tile.maximum[r];
  tile.shrink[r] = before;
  tile.maximum[r] = page_maximum > before ? page_maximum : before;
}

// Turns scores into weights relative to the row's running maximum.
inline void soften(const Tile& tile, int64_t r) {
  float* weight = tile.weight + r * kPage;
  const float maximum = tile.maximum[r], before = tile.shrink[r];
  F total = zero();
  for (int64_t i = 0; i < kPage; i += kLanes) {
    const F w = exponential(sub(load(weight + i), set1(maximum)));
    store(weight + i, w);
    total = add(total, w);
  }
  // The same function as the weights: the first page's shrink is e^-infinity = 0; e^0 is 1.
  float shrink[kLanes] = {1.0f};
  if (maximum != before) store(shrink, exponential(set1(before - maximum)));
  tile.shrink[r] = shrink[0];
  tile.total[r] = tile.total[r] * shrink[0] + sum(total);
}

// A block that row r sees nothing of.
inline void pass_block(const Tile& tile, int64_t r) {
  memset(tile.weight + r * kPage, 0, sizeof(float) * kPage);
  tile.shrink[r] = 1.0f;
}

// Writes out / total of every row.
template <class Task>
inline void finish(const Task& task, const Tile& tile) {
  for (int64_t r = 0; r < tile.rows; ++r) {
    float* out = task.out + offset_of(task, r);
    const float factor = 1.0f / tile.total[r];
    for (int64_t i = 0; i < task.head_dim; ++i) out[i] = tile.out[r * tile.dim + i] * factor;
  }
}

}  // namespace runnel::cpu::RUNNEL_ISA
