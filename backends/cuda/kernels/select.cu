// argmax: the lowest index of each row's maximum; one block per row.
#include "backends/cuda/kernels/device.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 1024;

struct Best {
  float value;
  int index;
};

__device__ Best better(Best a, Best b) {
  return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

__global__ void argmax_kernel(
    std::int32_t* out, const float* x, Rows rows, int cols, const StepData* step) {
  __shared__ Best partial[kThreads / 32];
  begin_step();
  const int row = blockIdx.x;
  if (row >= rows_in_use(rows, step)) return;
  const float* values = x + std::int64_t{row} * cols;
  Best best{values[0], 0};
  for (int i = threadIdx.x; i < cols; i += kThreads) best = better(best, {values[i], i});
  for (int i = 16; i > 0; i /= 2)
    best = better(best, {__shfl_xor_sync(kAllLanes, best.value, i),
                         __shfl_xor_sync(kAllLanes, best.index, i)});
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (const Best& one : partial) best = better(best, one);
  out[row] = best.index;
}

}  // namespace

cudaError_t argmax(const Step& step, const Launch& launch) {
  const Operand& x = step.in[0];
  return start(launch, argmax_kernel, grid_of(x.rows()), kThreads, 0, step.out[0].ids(), x.f32(),
               x.used(), x.cols(), launch.step);
}

}  // namespace runnel::cuda
