// What becomes of the sums of a product: where they go, and the short convolution behind them.
#pragma once
#include "backends/cuda/kernels/matvec_dot.cuh"

namespace runnel::cuda {
namespace {

constexpr int kWarps = kMatvecThreads / 32;

__device__ float silu(float x) {
  return x / (1.0f + expf(-x));
}

template <int kTokens>
__device__ void reduce(float (&sum)[kTokens], int lanes) {
#pragma unroll
  for (int t = 0; t < kTokens; ++t)
    for (int i = lanes / 2; i > 0; i /= 2) sum[t] += __shfl_xor_sync(kAllLanes, sum[t], i);
}

/// Which row of which matrix a result is.
struct Place {
  int matrix, row;
};
__device__ Place place_of(const MatvecArgs& a, int result) {
  if (a.combine != Combine::rows) return {0, result};
  int m = 0;
  while (m + 1 < a.n_matrices && result >= a.matrix[m].rows) result -= a.matrix[m++].rows;
  return {m, result};
}

/// What a channel's convolution needs besides B, C and x: loaded before the products, so that its
/// latency hides behind theirs.
struct Taps {
  float filter[kMostTaps], before[kMostTaps], bias;
  float* slot;  // of the step's own p

  __device__ void load(const MatvecArgs& a, int c, const StepData* step) {
    auto* ring = reinterpret_cast<float*>(pages_of(step, a.conv.state)[0]);
    const int d = a.matrix[0].rows / 3, taps = a.conv.taps, pos = step->pos;
#pragma unroll
    for (int k = 0; k < kMostTaps; ++k) {
      const int source = pos - (taps - 1) + k;
      filter[k] = k < taps ? a.conv.filter[c * taps + k] : 0.0f;
      before[k] = k < taps - 1 && source >= 0
                      ? ring[std::int64_t{source % a.conv.ring_columns} * d + c]
                      : 0.0f;
    }
    bias = a.conv.bias != nullptr ? a.conv.bias[c] : 0.0f;
    slot = ring + std::int64_t{pos % a.conv.ring_columns} * d + c;
  }
  __device__ float convolve(int taps, float gate, float out_gate, float x) const {
    const float p = __fmul_rn(gate, x);
    float sum = 0;
#pragma unroll
    for (int k = 0; k < kMostTaps; ++k)
      if (k < taps) sum += filter[k] * (k == taps - 1 ? p : before[k]);
    *slot = p;
    return out_gate * (sum + bias);
  }
};

/// Asks for bytes to be brought into the L2 cache, by the lanes of a warp.
__device__ inline void prefetch(const std::uint8_t* from, std::int64_t bytes) {
  const int n = static_cast<int>(bytes);
  for (int i = threadIdx.x % 32 * 128; i < n; i += 32 * 128)
    asm volatile("prefetch.global.L2 [%0];" ::"l"(from + i));
}

}  // namespace
}  // namespace runnel::cuda
