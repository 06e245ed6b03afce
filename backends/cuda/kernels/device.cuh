// Pieces that kernels share: launching, sums over warps and blocks, where states lie.
#pragma once
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "backends/cuda/kernels/kernels.h"
#include "quant/kv_format.h"

namespace runnel::cuda {

constexpr unsigned kAllLanes = 0xFFFFFFFFu;

/// Lets the next kernel start, then waits for the one before. Every kernel of a step calls it
/// before it touches anything but weights.
__device__ inline void allow_next() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
__device__ inline void wait_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ inline void begin_step() {
  allow_next();
  wait_previous();
}

__device__ inline int rows_in_use(const Rows& rows, const StepData* step) {
  return rows.per_token == 0 ? rows.fixed : rows.per_token * step->n_tokens;
}

__device__ inline int kv_position(const StepData* step) {
  return step->pos - step->kv_gap;
}

/// Addresses of a state's pages, or of its one ring or window.
__device__ inline std::byte* const* pages_of(const StepData* step, int state) {
  return reinterpret_cast<std::byte* const* const*>(step + 1)[state];
}

__device__ inline float warp_sum(float x) {
  for (int i = 16; i > 0; i /= 2) x += __shfl_xor_sync(kAllLanes, x, i);
  return x;
}

/// Sum over a block of whole warps, at most 32 of them; the same bits in every thread.
__device__ inline float block_sum(float x) {
  __shared__ float partial[32];
  x = warp_sum(x);
  __syncthreads();
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
  for (unsigned i = 0; i < blockDim.x / 32; ++i) sum += partial[i];
  return sum;
}

/// Whether this block is the last of `n` to get here; then it sees what the others wrote.
__device__ inline bool is_last(std::uint32_t* counter, int n, bool& shared) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    shared = atomicAdd(counter, 1u) == static_cast<std::uint32_t>(n - 1);
    if (shared) *counter = 0;
    __threadfence();
  }
  __syncthreads();
  return shared;
}

/// The same sums in a block of so many threads.
template <int threads>
__device__ float block_sum(float x) {
  __shared__ float4 partial[threads / 128];
  x = warp_sum(x);
  __syncthreads();
  if (threadIdx.x % 32 == 0) reinterpret_cast<float*>(partial)[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int i = 0; i < threads / 128; ++i) {
    const float4 p = partial[i];
    sum = sum + p.x + p.y + p.z + p.w;
  }
  return sum;
}

/// Launches kernel(args...) as part of a step.
template <class... Params, class... Args>
cudaError_t start(const Launch& launch,
                  void (*kernel)(Params...),
                  dim3 grid,
                  int threads,
                  std::size_t shared,
                  Args... args) {
  if (shared > 48 * 1024) {
    const cudaError_t error = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    if (error != cudaSuccess) return error;
  }
  if (launch.same_division) {
    const cudaError_t error = cudaFuncSetAttribute(
        kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared);
    if (error != cudaSuccess) return error;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared;
  config.stream = launch.stream;
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &attribute;
  config.numAttrs = launch.overlap ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, args...);
}

inline dim3 grid_of(std::int64_t x, std::int64_t y = 1, std::int64_t z = 1) {
  return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z));
}
inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace runnel::cuda
