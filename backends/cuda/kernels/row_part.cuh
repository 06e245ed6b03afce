// A row of x in the registers of a block of a matvec.
#pragma once
#include "backends/cuda/kernels/device.cuh"

namespace runnel::cuda {

constexpr int kMatvecThreads = 512;

constexpr int kRowParts = 4;
constexpr int kRegisterRow = kRowParts * kMatvecThreads * 4;  // values of a row in registers

/// Each thread's part of a row, four values at a time.
template <int kParts = kRowParts>
struct RowPart {
  float4 part[kParts];

  __device__ void load(const float* x, int k) {
#pragma unroll
    for (int c = 0; c < kParts; ++c) {
      const int q = c * kMatvecThreads + threadIdx.x;
      part[c] = q < k / 4 ? reinterpret_cast<const float4*>(x)[q] : float4{};
    }
  }
};

__device__ inline float4 scaled(const float4& v, float scale, const float4& n) {
  return {v.x * scale * n.x, v.y * scale * n.y, v.z * scale * n.z, v.w * scale * n.w};
}

__host__ __device__ inline bool fits_registers(int k) {
  return k % 4 == 0 && k <= kRegisterRow;
}

/// rms_norm of a row in registers.
template <int kParts>
__device__ void normalise(RowPart<kParts>& row, const RowPart<kParts>& norm, int k, float eps) {
  float squares = 0;
#pragma unroll
  for (int c = 0; c < kParts; ++c) {
    const float4 v = row.part[c];
    squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  const float sum = block_sum<kMatvecThreads>(squares);
  const float scale = rsqrtf(sum * (1.0f / static_cast<float>(k)) + eps);
#pragma unroll
  for (int c = 0; c < kParts; ++c) row.part[c] = scaled(row.part[c], scale, norm.part[c]);
}

}  // namespace runnel::cuda
