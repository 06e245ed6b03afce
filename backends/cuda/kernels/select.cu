// argmax: the lowest index of each row's maximum. Several blocks share the row where there is one,
// which is that of a step's logits; the last of them to finish takes the best of all.
#include <algorithm>

#include "backends/cuda/kernels/device.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 256, kEach = 8 * kThreads;  // kEach: values of a block, about
constexpr int kMostBlocks = 64;

struct Best {
  float value;
  int index;
};

__device__ Best better(Best a, Best b) {
  return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

/// The best of a block, in thread 0.
__device__ Best block_best(Best best, Best* partial) {
  for (int i = 16; i > 0; i /= 2)
    best = better(best, {__shfl_xor_sync(kAllLanes, best.value, i),
                         __shfl_xor_sync(kAllLanes, best.index, i)});
  __syncthreads();
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x == 0)
    for (int i = 0; i < kThreads / 32; ++i) best = better(best, partial[i]);
  return best;
}

/// `found`: of each block, where there are several.
__global__ void argmax_kernel(std::int32_t* out,
                              const float* x,
                              Rows rows,
                              int cols,
                              Best* found,
                              std::uint32_t* counter,
                              const StepData* step) {
  __shared__ Best partial[kThreads / 32];
  __shared__ bool last;
  begin_step();
  const int row = static_cast<int>(blockIdx.y), n_blocks = static_cast<int>(gridDim.x);
  if (row >= rows_in_use(rows, step)) return;
  const float* values = x + std::int64_t{row} * cols;
  Best best{values[0], 0};
  for (int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x); i < cols;
       i += n_blocks * kThreads)
    best = better(best, {values[i], i});
  best = block_best(best, partial);
  if (n_blocks > 1) {
    if (threadIdx.x == 0) found[blockIdx.x] = best;
    if (!is_last(counter, n_blocks, last)) return;
    best = {values[0], 0};
    for (int i = static_cast<int>(threadIdx.x); i < n_blocks; i += kThreads)
      best = better(best, found[i]);
    best = block_best(best, partial);
  }
  if (threadIdx.x == 0) out[row] = best.index;
}

}  // namespace

std::size_t argmax_scratch(const Graph&, const Node&) {
  return kMostBlocks * sizeof(Best);
}

cudaError_t argmax(const Step& step, const Launch& launch) {
  const Operand& x = step.in[0];
  const std::int64_t blocks =
      x.rows() > 1 ? 1 : std::min<std::int64_t>(kMostBlocks, ceil_div(x.cols(), kEach));
  return start(launch, argmax_kernel, grid_of(blocks, x.rows()), kThreads, 0, step.out[0].ids(),
               x.f32(), x.used(), x.cols(), reinterpret_cast<Best*>(step.scratch), step.counters,
               launch.step);
}

}  // namespace runnel::cuda
