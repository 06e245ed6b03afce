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
  /// Sum of squares of the warp's values.
  __device__ float squares() const {
    float sum = 0;
#pragma unroll
    for (const float4& v : part) sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    return warp_sum(sum);
  }
  __device__ void multiply(const RowPart& gains) {
#pragma unroll
    for (int c = 0; c < kParts; ++c) part[c] = product(part[c], gains.part[c]);
  }
  static __device__ float4 product(const float4& a, const float4& b) {
    return {a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w};
  }
};

__host__ __device__ inline bool fits_registers(int k) {
  return k % 4 == 0 && k <= kRegisterRow;
}

}  // namespace runnel::cuda
