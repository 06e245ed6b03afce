// What a block of gemm_hopper's kernel is given and works on.
#pragma once
#include "backends/cuda/kernels/gemm_hopper_weights.cuh"
#include "backends/cuda/kernels/matvec.cuh"
#include "backends/cuda/kernels/tiles.cuh"

namespace runnel::cuda {
namespace hopper {

constexpr int kProducers = 256, kConsumers = 256, kThreads = kProducers + kConsumers;
constexpr int kCols = 128;        // results of a block, in N
constexpr int kMostTokens = 256;  // of a block
constexpr int kStages = 4;        // of tiles in shared memory
constexpr int kWElems = kCols * kTileDepth, kXElems = kMostTokens * kTileDepth;
constexpr int kStageElems = kWElems + kXElems;
constexpr int kSumStride = kCols + 4;  // f32: rows of sums free of bank conflicts
constexpr std::size_t kSharedBytes = kStages * kStageElems * sizeof(__half) + 1024 + 128;
static_assert(kMostTokens * kSumStride * sizeof(float) <= kStages * kStageElems * sizeof(__half));

struct Args {
  const __half* x;      // tiles
  const float* scales;  // [places]
  Planes w, up;         // up: swiglu
  float* out;           // [rows, n]
  const float *bias, *residual;
  int n, k, steps;   // steps: of 64 of K
  int splits;        // of K, blocks of a cluster
  int block_tokens;  // rows of x of a block: 128 or 256
  Rows rows;
  Sorted sorted;  // of products with experts
  int n_experts;  // 0: W is one matrix
};

/// What a block works on.
struct Share {
  int first, rows;         // places of x
  int expert, begin, end;  // steps
};

/// Row of W (and whether of the second matrix) that result c of a block is.
template <bool kSwiglu>
__device__ int weight_row(int c, bool& second) {
  const int block = static_cast<int>(blockIdx.y);
  second = kSwiglu && c / 8 % 2 == 1;
  return kSwiglu ? block * (kCols / 2) + c / 16 * 8 + c % 8 : block * kCols + c;
}

/// The block's rows of x; false: it has none.
__device__ inline bool find_rows(const Args& a, const StepData* step, Share& share) {
  int block = static_cast<int>(blockIdx.x);
  if (a.n_experts == 0) {
    share.first = block * a.block_tokens;
    share.rows = min(a.block_tokens, rows_in_use(a.rows, step) - share.first);
    return share.rows > 0;
  }
  for (int e = 0; e < a.n_experts; ++e) {
    const int count = a.sorted.count[e], blocks = (count + kMostTokens - 1) / kMostTokens;
    if (block < blocks) {
      share.expert = e;
      share.first = a.sorted.first[e] + block * kMostTokens;
      share.rows = min(kMostTokens, count - block * kMostTokens);
      return true;
    }
    block -= blocks;
  }
  return false;
}

struct Pipe {
  __half* tiles;               // [kStages][W, x]
  std::uint64_t *full, *free;  // [kStages]
};

}  // namespace hopper
}  // namespace runnel::cuda
