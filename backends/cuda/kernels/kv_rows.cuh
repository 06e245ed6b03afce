// Where keys and values lie: rows of a page, the window beside tiles, tiles of 16 tokens.
#pragma once
#include "backends/cuda/kernels/device.cuh"
#include "runtime/graph/graph.h"

namespace runnel::cuda {

constexpr int kPage = static_cast<int>(kPageTokens);
constexpr int kTile = quant::kKvTileTokens;

/// Element (head, place, d) of pages of plain rows [heads][64][dh].
template <class T>
__device__ T* page_row(std::byte* const* pages, int place, int head, int dh) {
  return reinterpret_cast<T*>(pages[place / kPage]) +
         (std::int64_t{head} * kPage + place % kPage) * dh;
}

/// First place that a token at `place` sees as rows (besides sinks).
__device__ inline int sealed_before(int place, int recent) {
  const int old = place + 1 - recent;
  return old <= 0 ? 0 : old / kTile * kTile;
}

/// Keys (half 0) or values (half 1) of one step beside its window: places before `split` are in the
/// window, the rest are rows of the step, which hold f16 values.
struct KvWindow {
  const float* rows;  // [tokens, heads * dh]
  __half* stored;     // [2 * heads, slots, dh]
  int heads, slots, dh, sinks, half;
  int pos, split, gap;

  __device__ void begin(const StepData* step, int state) {
    stored = reinterpret_cast<__half*>(pages_of(step, state)[0]);
    pos = kv_position(step);
    gap = step->kv_gap;
    split = max(pos, step->kv_keep - gap);
  }
  __device__ int ring() const { return slots - quant::kKvSinkTokens; }
  __device__ __half* slots_of(int head) const {
    return stored + (std::int64_t{half} * heads + head) * slots * dh;
  }
  __device__ __half* slot(int place, int head) const {
    const int index = place < sinks ? place : quant::kKvSinkTokens + (place + gap) % ring();
    return slots_of(head) + std::int64_t{index} * dh;
  }
  __device__ float value(int place, int head, int d) const {
    return place >= split ? rows[(std::int64_t{place - pos} * heads + head) * dh + d]
                          : __half2float(slot(place, head)[d]);
  }
};

/// Geometry of formats with tiles, as in quant/kv_format.h, whose tables are not on the device.
__device__ inline int tile_bytes(quant::KvFormat format) {
  const int bits = format == quant::KvFormat::kt8   ? 8
                   : format == quant::KvFormat::kt4 ? 4
                   : format == quant::KvFormat::kt3 ? 3
                                                    : 2;
  return kTile * quant::kKvChannels / 8 * bits;
}

/// One tile's codes and scales of one head and 64 channels.
struct TilePart {
  const std::uint8_t* codes;
  const __half* scales;
};
__device__ inline TilePart tile_part(
    std::byte* const* pages, quant::KvFormat format, int place, int head, int part, int parts) {
  const std::byte* block = pages[place / kPage] + (std::int64_t{head} * parts + part) *
                                                      (4 * tile_bytes(format) + kPage * 2);
  const int tile = place % kPage / kTile;
  return {reinterpret_cast<const std::uint8_t*>(block) + tile * tile_bytes(format),
          reinterpret_cast<const __half*>(block + 4 * tile_bytes(format)) + tile * kTile};
}

/// Where the code of (token, channel) is among the 1024 of a tile. SOURCE: quant/kv_tile.h.
__device__ inline int tile_place(bool keys, int token, int channel) {
  return keys ? 64 * (channel / 4) + 4 * token + channel % 4
              : 64 * (4 * (channel / 16) + token / 4) + 4 * (channel % 16) + token % 4;
}

/// Levels of one sign of the formats with few levels. SOURCE: quant/kv_kt4.cc and its siblings.
struct TileLevels {
  int n;
  float unit;
  int level[8];
};
__device__ constexpr TileLevels tile_levels(quant::KvFormat format) {
  if (format == quant::KvFormat::kt4) return {8, 2.733f, {6, 18, 31, 44, 58, 75, 96, 127}};
  if (format == quant::KvFormat::kt3) return {4, 2.1519f, {14, 45, 79, 127}};
  return {2, 1.5104f, {38, 127}};
}

/// Level of a value in a tile: value = scale * level.
__device__ inline int tile_level(quant::KvFormat format, const std::uint8_t* codes, int place) {
  const int v = place / 64, b = place % 64;
  if (format == quant::KvFormat::kt8) return static_cast<std::int8_t>(codes[place]);
  int code;
  if (format == quant::KvFormat::kt4) {
    code = codes[v / 2 * 64 + b] >> (v % 2 * 4) & 15;
  } else {
    code = codes[v / 4 * 64 + b] >> (v % 4 * 2) & 3;
    if (format == quant::KvFormat::kt3) code |= (codes[256 + v / 8 * 64 + b] >> (v % 8) & 1) << 2;
  }
  const TileLevels levels = tile_levels(format);
  const int i = code >= levels.n ? code - levels.n : levels.n - 1 - code;
  int level = levels.level[0];
#pragma unroll
  for (int l = 1; l < 8; ++l)
    if (l == i) level = levels.level[l];
  return code >= levels.n ? level : -level;
}

/// Level of each code of formats with few levels.
__device__ inline float level_of(quant::KvFormat format, int code) {
  const TileLevels levels = tile_levels(format);
  const int i = code >= levels.n ? code - levels.n : levels.n - 1 - code;
  int level = 0;
#pragma unroll
  for (int l = 0; l < 8; ++l)
    if (l == i) level = levels.level[l];
  return static_cast<float>(code >= levels.n ? level : -level);
}

}  // namespace runnel::cuda
