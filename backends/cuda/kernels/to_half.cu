// Rows of x in f16, each scaled by the power of two that brings its largest value to at most 2^14:
// whatever the activations are, they fit. Bound by memory.
#include "backends/cuda/kernels/to_half.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 256;

/// One block per row.
__global__ void to_half_kernel(ToHalfArgs a, const StepData* step) {
  __shared__ float partial[kThreads / 32];
  begin_step();
  const int row = blockIdx.x;
  if (row >= rows_in_use(a.rows, step)) return;
  const float* from = a.x + std::int64_t{row} * a.k;
  float most = 0;
  for (int i = threadIdx.x; i < a.k; i += kThreads) most = fmaxf(most, fabsf(from[i]));
  for (int i = 16; i > 0; i /= 2) most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, i));
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = most;
  __syncthreads();
  for (const float other : partial) most = fmaxf(most, other);
  const int exponent = most > 0.0f && most < INFINITY ? max(-100, min(100, ilogbf(most) - 13)) : 0;
  const float down = exp2f(static_cast<float>(-exponent));
  for (int i = threadIdx.x; i < a.padded; i += kThreads)
    a.out[std::int64_t{row} * a.padded + i] = __float2half_rn(i < a.k ? from[i] * down : 0.0f);
  if (threadIdx.x == 0) a.scales[row] = exp2f(static_cast<float>(exponent));
}

}  // namespace

cudaError_t to_half(const ToHalfArgs& args, const Launch& launch) {
  return start(launch, to_half_kernel, grid_of(args.max_rows), kThreads, 0, args, launch.step);
}

}  // namespace runnel::cuda
