// The end of a block of gemm_hopper's kernel: sums of the cluster's blocks, and what is done with
// them.
#pragma once
#include "backends/cuda/kernels/gemm_hopper_args.cuh"
#include "backends/cuda/kernels/hopper.cuh"

namespace runnel::cuda {
namespace hopper {

__device__ inline float4 operator+(const float4& a, const float4& b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
}
__device__ inline float4 operator*(const float4& a, float b) {
  return {a.x * b, a.y * b, a.z * b, a.w * b};
}
__device__ inline float silu(float x) {
  return x / (1.0f + expf(-x));
}

/// Four sums of all blocks of the cluster.
__device__ inline float4 whole_sum(const Args& a, const float* sums) {
  float4 all = load_of_block(sums, 0);
  for (int s = 1; s < a.splits; ++s) all = all + load_of_block(sums, s);
  return all;
}

/// The warps that multiply: each block of the cluster writes the results of its part of the rows.
template <bool kSwiglu>
__device__ void write_results(const Args& a, const Share& share, const float* sums) {
  constexpr int kLanes = kSwiglu ? 16 : 32;  // four results each
  const int rank = static_cast<int>(blockIdx.z), each = (share.rows + a.splits - 1) / a.splits;
  const int end = min((rank + 1) * each, share.rows), lane = threadIdx.x % kLanes;
  const int c = kSwiglu ? lane / 2 * 16 + lane % 2 * 4 : lane * 4;
  bool second;
  const int n = weight_row<kSwiglu>(c, second);
  if (n >= a.n) return;
  for (int t = rank * each + static_cast<int>(threadIdx.x) % kConsumers / kLanes; t < end;
       t += kConsumers / kLanes) {
    const float scale = a.scales[share.first + t];
    float4 value = whole_sum(a, sums + t * kSumStride + c) * scale;
    if (kSwiglu) {
      const float4 up = whole_sum(a, sums + t * kSumStride + c + 8) * scale;
      value = {silu(value.x) * up.x, silu(value.y) * up.y, silu(value.z) * up.z,
               silu(value.w) * up.w};
    }
    const int row = a.n_experts > 0 ? a.sorted.row[share.first + t] : share.first + t;
    const std::int64_t at = std::int64_t{row} * a.n + n;
    if (a.bias != nullptr) value = value + *reinterpret_cast<const float4*>(a.bias + n);
    if (a.residual != nullptr) value = *reinterpret_cast<const float4*>(a.residual + at) + value;
    *reinterpret_cast<float4*>(a.out + at) = value;
  }
}

}  // namespace hopper
}  // namespace runnel::cuda
