// How shares of attention of few tokens are merged: of a block's warps, then of blocks.
#pragma once
#include "backends/cuda/kernels/attention_heads.cuh"

namespace runnel::cuda {
namespace {

/// Results of `heads` heads into s.q from the parts of `n` splits, part [kDim sums, maximum, sum]
/// of a head and split at (head * stride + split) * (kDim + 2).
template <int kDim, int kThreads>
__device__ void merge_parts(
    Shared<kDim, kThreads>& s, const float* parts, int n, int stride, int heads) {
  constexpr int kSize = kDim + 2;
  const auto part = [&](int head, int split) {
    return parts + (std::int64_t{head} * stride + split) * kSize;
  };
  for (int i = threadIdx.x; i < heads * n; i += kThreads) {
    const float* state = part(i / n, i % n) + kDim;
    s.parts[i % n][i / n] = {state[0], state[1]};
  }
  __syncthreads();
  for (int h = threadIdx.x; h < heads; h += kThreads) {
    Running whole;
    for (int i = 0; i < n; ++i) whole.merge({s.parts[i][h].maximum, s.parts[i][h].sum});
    s.whole[h] = {whole.maximum, whole.sum};
  }
  __syncthreads();
  for (int i = threadIdx.x; i < heads * n; i += kThreads) {
    State& one = s.parts[i % n][i / n];
    const State& whole = s.whole[i / n];
    one.sum = one.maximum == -INFINITY ? 0.0f : expf(one.maximum - whole.maximum) / whole.sum;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < heads * kDim; i += kThreads) {
    const float* from = part(i / kDim, 0) + i % kDim;
    float value = 0;
#pragma unroll 8
    for (int split = 0; split < n; ++split)
      value = fmaf(from[split * kSize], s.parts[split][i / kDim].sum, value);
    s.q[0][i] = value;
  }
}

/// Merges what warps left in `s`: one split's part, or results in s.q where `partial` is null.
template <int kDim, int kThreads>
__device__ void merge_warps(Shared<kDim, kThreads>& s,
                            int heads,
                            float* partial,
                            std::int64_t partial_stride) {
  __syncthreads();
  constexpr int kWarps = kThreads / 32;
  float most[kHeads];
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    most[h] = -INFINITY;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) most[h] = fmaxf(most[h], s.states[w][h].maximum);
    const float mine = threadIdx.x < kWarps ? s.states[threadIdx.x][h].maximum : -INFINITY;
    if (threadIdx.x < kWarps)
      s.shrink[threadIdx.x][h] = mine == -INFINITY ? 0.0f : expf(mine - most[h]);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < heads * kDim; i += kThreads) {
    const int h = i / kDim, d = i % kDim;
    float value = 0, sum = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      value = fmaf(s.sums[w][h][d], s.shrink[w][h], value);
      sum = fmaf(s.states[w][h].sum, s.shrink[w][h], sum);
    }
    if (partial == nullptr) {
      s.q[0][i] = value / sum;
      continue;
    }
    float* to = partial + h * partial_stride;
    to[d] = value;
    if (d == 0) {
      to[kDim] = h == 0 ? most[0] : h == 1 ? most[1] : h == 2 ? most[2] : most[3];
      to[kDim + 1] = sum;
    }
  }
}

}  // namespace
}  // namespace runnel::cuda
