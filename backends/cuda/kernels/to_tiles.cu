// Rows of x in f16 tiles, each row scaled by the power of two that brings its largest value to at
// most 2^14: whatever the activations are, they fit. Bound by memory.
#include "backends/cuda/kernels/tiles.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 256;

__device__ std::uint32_t pair(float x, float y) {
  const __half2 h = __floats2half2_rn(x, y);
  return *reinterpret_cast<const std::uint32_t*>(&h);
}

/// One block per row; a thread takes eight values at a time. k is a multiple of 32.
__global__ void to_tiles_kernel(ToTilesArgs a, const StepData* step) {
  __shared__ float partial[kThreads / 32];
  begin_step();
  const int row = blockIdx.x;
  int source = row;
  if (a.from != nullptr) {
    source = a.from[row];
    if (source < 0) return;
    source /= a.rows_per_x;
  } else if (row >= rows_in_use(a.rows, step)) {
    return;
  }
  const float4* from = reinterpret_cast<const float4*>(a.x + std::int64_t{source} * a.k);
  float most = 0;
  for (int i = threadIdx.x; i < a.k / 4; i += kThreads) {
    const float4 v = from[i];
    most = fmaxf(most, fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w))));
  }
  for (int i = 16; i > 0; i /= 2) most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, i));
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = most;
  __syncthreads();
  for (const float other : partial) most = fmaxf(most, other);
  const int exponent = most > 0.0f && most < INFINITY ? max(-100, min(100, ilogbf(most) - 13)) : 0;
  const float down = exp2f(static_cast<float>(-exponent));
  __half* const to =
      a.out + std::int64_t{row / kTileRows} * a.steps * kTileElems + row % kTileRows * kTileDepth;
  for (int i = threadIdx.x; i < a.steps * 8; i += kThreads) {
    float4 u{}, v{};
    if (i < a.k / 8) {
      u = from[2 * i];
      v = from[2 * i + 1];
    }
    const int part = (i ^ row) % 8;
    *reinterpret_cast<uint4*>(to + i / 8 * kTileElems + part * 8) = {
        pair(u.x * down, u.y * down), pair(u.z * down, u.w * down), pair(v.x * down, v.y * down),
        pair(v.z * down, v.w * down)};
  }
  if (threadIdx.x == 0) a.scales[row] = exp2f(static_cast<float>(exponent));
}

}  // namespace

cudaError_t to_tiles(const ToTilesArgs& args, const Launch& launch) {
  return start(launch, to_tiles_kernel, grid_of(args.max_rows), kThreads, 0, args, launch.step);
}

}  // namespace runnel::cuda
