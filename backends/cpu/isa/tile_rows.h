// The recent keys and values beside tiles: rows of f16 in the window, rows of f32 in the step.
#pragma once
#include "backends/cpu/isa/attention_rows.h"
#include "backends/cpu/isa/tile_task.h"

namespace runnel::cpu::RUNNEL_ISA {

/// Keys or values [lo, hi) of a block. Keys beside them, which only fill a register, are the
/// nearest of them. Keys and values lie alike, so that one list of offsets serves both.
struct RowPlaces {
  int64_t offset[kPage];  // bytes from the window, or (from `fresh` on) from the step
  int64_t fresh;          // keys before it are in the window
  int64_t dh;

  RowPlaces(const TileAttentionTask& task, int64_t base, int64_t lo, int64_t hi)
      : fresh(task.split - base), dh(task.head_dim) {
    const int64_t ring = task.slots - kSinkSlots;
    int64_t turn = (base + lo + task.gap) % ring;  // of the ring, at key `lo`
    for (int64_t key = lo; key < hi; ++key, turn = turn + 1 == ring ? 0 : turn + 1) {
      const int64_t position = base + key;
      const int64_t slot = position < task.sinks ? position : kSinkSlots + turn;
      offset[key] =
          key < fresh ? 2 * slot * dh : 4 * (position - task.step_pos) * task.k.step_stride;
    }
    for (int64_t key = lo / kLanes * kLanes; key < lo; ++key) offset[key] = offset[lo];
    for (int64_t key = hi; key % kLanes != 0; ++key) offset[key] = offset[hi - 1];
    // A filled register is read from one side as a whole.
    if (lo >= fresh && fresh > lo / kLanes * kLanes) fresh = lo / kLanes * kLanes;
    if (hi <= fresh) fresh = kPage;
  }
};

struct Rows {
  const RowPlaces& places;
  const uint8_t *window, *step;
  int64_t dh;

  Rows(const RowPlaces& at, const TiledRows& rows)
      : places(at),
        window(static_cast<const uint8_t*>(rows.window)),
        step(reinterpret_cast<const uint8_t*>(rows.step)),
        dh(at.dh) {}
  inline F half_at(int64_t key, int64_t i) const {
    return load_f16(reinterpret_cast<const uint16_t*>(window + places.offset[key]) + i);
  }
  inline F load_at(int64_t key, int64_t i) const {
    if (key < places.fresh) return half_at(key, i);
    return load(reinterpret_cast<const float*>(step + places.offset[key]) + i);
  }
  inline void block(int64_t key, int64_t i, F (&block)[kLanes]) const {
    if (key + kLanes <= places.fresh) {
#pragma GCC unroll 16
      for (int64_t j = 0; j < kLanes; ++j) block[j] = half_at(key + j, i);
    } else {
#pragma GCC unroll 16
      for (int64_t j = 0; j < kLanes; ++j) block[j] = load_at(key + j, i);
    }
    transpose(block);
  }
};

/// Keys [lo, hi) as columns of tile.k: [dim, kPage].
inline void transpose_rows(const Rows& keys, const Tile& tile, int64_t lo, int64_t hi) {
  for (int64_t key = lo / kLanes * kLanes; key < hi; key += kLanes)
    for (int64_t i = 0; i < tile.dim; i += kLanes) {
      F block[kLanes];
      keys.block(key, i, block);
      for (int64_t j = 0; j < kLanes; ++j) store(tile.k + (i + j) * kPage + key, block[j]);
    }
}

/// Values [lo, hi) as rows of tile.v: [kPage, dim].
inline void widen_rows(const Rows& values, const Tile& tile, int64_t lo, int64_t hi) {
  for (int64_t key = lo; key < hi; ++key)
    for (int64_t i = 0; i < tile.dim; i += kLanes)
      store(tile.v + key * tile.dim + i, values.load_at(key, i));
}

}  // namespace runnel::cpu::RUNNEL_ISA
