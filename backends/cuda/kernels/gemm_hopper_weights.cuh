// How 128 threads make f16 tiles of W, 128 rows by 64 values, swizzled as describe() says.
#pragma once
#include "backends/cuda/kernels/gemm_weights.cuh"

namespace runnel::cuda {

/// Where 16-byte part `part` of row `row` of a tile is.
__device__ inline uint4* tile_part(__half* tile, int row, int part) {
  return reinterpret_cast<uint4*>(tile) + row * 8 + (part ^ (row % 8));
}

/// Plain 16-bit types: 16 bytes of each of eight rows, 8 threads side by side in a row, so that
/// loads are whole lines.
template <bool kConvert>
struct SixteenBitTile {
  const std::uint8_t* from[8];
  uint4 raw[8];
  int first, k;  // value in a tile, values in a row

  template <class Columns>
  __device__ void begin(const Columns& columns, int n_values, int thread) {
    k = n_values;
    first = thread % 8 * 8;
#pragma unroll
    for (int p = 0; p < 8; ++p) {
      const Column column = columns(p * 16 + thread / 8);
      from[p] = column.planes->at[0] + (std::int64_t{column.row} * k + first) * 2;
    }
  }
  __device__ void fetch(int tile) {
#pragma unroll
    for (int p = 0; p < 8; ++p)
      raw[p] = tile * 64 + first < k ? __ldg(reinterpret_cast<const uint4*>(from[p] + tile * 128))
                                     : uint4{};
  }
  __device__ void store(__half* tile, int thread) const {
#pragma unroll
    for (int p = 0; p < 8; ++p) {
      const uint4 v = raw[p];
      *tile_part(tile, p * 16 + thread / 8, thread % 8) = {
          two_halves<kConvert>(v.x), two_halves<kConvert>(v.y), two_halves<kConvert>(v.z),
          two_halves<kConvert>(v.w)};
    }
  }
};

struct HalfTile : SixteenBitTile<false> {};
struct BfloatTile : SixteenBitTile<true> {};

/// A packed type: the two units of one row.
template <class Format>
struct PackedTile {
  const Planes* planes;
  std::int64_t first_unit;
  int units;
  typename Format::Raw raw[2];

  template <class Columns>
  __device__ void begin(const Columns& columns, int n_values, int thread) {
    const Column column = columns(thread);
    planes = column.planes;
    units = n_values / kUnit;
    first_unit = std::int64_t{column.row} * units;
  }
  /// Units past the end of a row meet zeros of x.
  __device__ void fetch(int tile) {
#pragma unroll
    for (int h = 0; h < 2; ++h)
      raw[h] = Format::load(*planes, first_unit + min(2 * tile + h, units - 1));
  }
  __device__ void store(__half* tile, int thread) const {
#pragma unroll
    for (int h = 0; h < 2; ++h)
      put_halves(Format::decode(raw[h]),
                 [&](int i, const uint4& v) { *tile_part(tile, thread, 4 * h + i) = v; });
  }
};

/// Calls f.template operator()<Tile>() with the tile type of float16 types and packed ones.
template <class F>
inline auto with_tile(quant::DType type, F&& f) {
  if (type == quant::DType::f16) return f.template operator()<HalfTile>();
  if (type == quant::DType::bf16) return f.template operator()<BfloatTile>();
  return with_format(type,
                     [&]<class Format>() { return f.template operator()<PackedTile<Format>>(); });
}

}  // namespace runnel::cuda
