// One tile of a product of many rows: x into shared memory, the tensor cores, results.
#pragma once
#include <type_traits>

#include "backends/cuda/kernels/gemm_weights.cuh"
#include "backends/cuda/kernels/matvec.cuh"
#include "backends/cuda/kernels/mma.cuh"
#include "backends/cuda/kernels/to_half.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kCols = 128;           // results of a block, in N
constexpr int kDepth = 64;           // of K in shared memory
constexpr int kStride = kDepth + 8;  // f16: rows of 144 bytes keep ldmatrix free of bank conflicts
constexpr int kMostRows = 128;
constexpr int kStages = 3;  // tiles of x in shared memory

struct GemmArgs {
  const __half* x;      // [rows, padded k]
  const float* scales;  // [rows]
  Planes w, up;         // up: swiglu
  float* out;
  const float *bias, *residual;
  int n, k, padded_k;
  Rows rows;
  int splits;      // of K, each with its own sums
  float* partial;  // [splits, max_rows, n] where there are several
  int max_rows;
};

/// Row of W (and whether of the second matrix) that column c of a block is.
template <bool kSwiglu>
__device__ int weight_row(int block, int c, bool& second) {
  second = kSwiglu && c / 16 % 2 == 1;
  return kSwiglu ? block * (kCols / 2) + c / 32 * 16 + c % 16 : block * kCols + c;
}

template <int kRows>
__device__ void copy_x(const GemmArgs& a, __half* to, int first_row, int depth) {
  for (int i = threadIdx.x; i < kRows * (kDepth / 8); i += kThreads) {
    const int row = i / (kDepth / 8), part = i % (kDepth / 8);
    copy_16(to + row * kStride + part * 8,
            a.x + std::int64_t{first_row + row} * a.padded_k + depth + part * 8);
  }
  commit_copies();
}

/// Each warp: (kRows / 2) x 32 results. acc[i][j]: rows 16 i, columns 8 j.
template <int kRows>
__device__ void multiply_tile(const __half* x, const __half* w, float (&acc)[kRows / 32][4][4]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const __half* xs = x + (warp % 2 * (kRows / 2) + lane % 16) * kStride + lane / 16 * 8;
  const __half* ws = w + (warp / 2 * 32 + lane % 8 + lane / 16 * 8) * kStride + lane / 8 % 2 * 8;
#pragma unroll
  for (int d = 0; d < kDepth; d += 16) {
    std::uint32_t b[2][4];
    load_matrices(b[0], ws + d);
    load_matrices(b[1], ws + 16 * kStride + d);
#pragma unroll
    for (int i = 0; i < kRows / 32; ++i) {
      std::uint32_t f[4];
      load_matrices(f, xs + i * 16 * kStride + d);
#pragma unroll
      for (int j = 0; j < 4; ++j)
        multiply(acc[i][j], f, b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
    }
  }
}

__device__ float silu(float x) {
  return x / (1.0f + expf(-x));
}

template <int kRows, bool kSwiglu>
__device__ void write_results(const GemmArgs& a,
                              const float (&acc)[kRows / 32][4][4],
                              int first_row,
                              int n_rows) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  constexpr int kColumns = kSwiglu ? 2 : 4;
#pragma unroll
  for (int i = 0; i < kRows / 32; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first_row + warp % 2 * (kRows / 2) + i * 16 + half * 8 + lane / 4;
      if (row >= n_rows) continue;
      const float scale = a.scales[row];
#pragma unroll
      for (int j = 0; j < kColumns; ++j)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          bool second;
          const int n = weight_row<kSwiglu>(static_cast<int>(blockIdx.y),
                                            warp / 2 * 32 + j * 8 + lane % 4 * 2 + e, second);
          if (n >= a.n) continue;
          const std::int64_t at = std::int64_t{row} * a.n + n;
          float value = acc[i][j][half * 2 + e] * scale;
          if (kSwiglu) value = silu(value) * (acc[i][(j + 2) % 4][half * 2 + e] * scale);
          if (a.splits > 1) {
            a.partial[std::int64_t{blockIdx.z} * a.max_rows * a.n + at] = value;
            continue;
          }
          if (a.bias != nullptr) value += a.bias[n];
          if (a.residual != nullptr) value = a.residual[at] + value;
          a.out[at] = value;
        }
    }
}

}  // namespace
}  // namespace runnel::cuda
