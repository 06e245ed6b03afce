// Rows of x in f16 as the products of gemm_hopper.cuh read them: tiles of 64 rows by 64 values,
// [row / 64][value / 64][row % 64][64], swizzled as describe() says, so that a tile is one bulk
// copy.
#pragma once
#include "backends/cuda/kernels/device.cuh"

namespace runnel::cuda {

constexpr int kTileRows = 64;
constexpr int kTileDepth = 64;
constexpr int kTileElems = kTileRows * kTileDepth;

/// Rows of x sorted by the expert that they go to. Each expert begins at a multiple of 64 places.
struct Sorted {
  const std::int32_t* first;  // [experts] place of the first row of each expert
  const std::int32_t* count;  // [experts] rows
  const std::int32_t* row;    // [places]: of the result, or -1 in between
};

struct ToTilesArgs {
  const float* x;  // [max_rows, k]
  __half* out;     // tiles
  float* scales;   // [places]: x = scale * out, scale a power of two
  int k, steps;    // steps: tiles of a row
  int max_rows;    // places, where sorted
  Rows rows;
  const std::int32_t* from;  // [places]: result row, or null; its x is row / rows_per_x
  int rows_per_x;
};

cudaError_t to_tiles(const ToTilesArgs& args, const Launch& launch);

}  // namespace runnel::cuda
