// One block's share of the keys of attention of few tokens, and how shares are merged.
#pragma once
#include "backends/cuda/kernels/attention_heads.cuh"
#include "backends/cuda/kernels/kv_rows.cuh"

namespace runnel::cuda {
namespace {

__device__ inline void unpack(const uint4& v, float (&x)[8]) {
  const std::uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 two = __half22float2(*reinterpret_cast<const __half2*>(&words[i]));
    x[2 * i] = two.x;
    x[2 * i + 1] = two.y;
  }
}

/// What a lane knows: 8 channels of the sums of 4 heads over the keys of its group of lanes.
struct Sums {
  Running state[kHeads];
  float value[kHeads][8] = {};
};

/// Where the keys of a block are.
struct Keys {
  std::byte *const *k_pages, *const *v_pages;
  int begin, end, fresh;  // fresh: place that is in shared memory, or -1
  int head;
};

/// Keys and values of f16 pages: `kKeyBatch` of them are under way at once.
template <int kDim, int kThreads, int kKeyBatch>
struct RowSource {
  static constexpr int kGroups = kThreads / (kDim / 8);
  const Shared<kDim, kThreads>& s;
  const Keys& keys;
  int part, group;
  uint4 k[kKeyBatch], v[kKeyBatch];

  /// Key b of a group, where a batch of all groups begins at `first`.
  __device__ int key(int first, int b) const { return first + b * kGroups + group; }
  __device__ void fetch(int first) {
#pragma unroll
    for (int b = 0; b < kKeyBatch; ++b) {
      const int at = min(key(first, b), keys.end - 1);
      if (at == keys.fresh) {
        k[b] = *reinterpret_cast<const uint4*>(s.k + part);
        v[b] = *reinterpret_cast<const uint4*>(s.v + part);
      } else {
        k[b] = *reinterpret_cast<const uint4*>(
            page_row<__half>(keys.k_pages, at, keys.head, kDim) + part);
        v[b] = *reinterpret_cast<const uint4*>(
            page_row<__half>(keys.v_pages, at, keys.head, kDim) + part);
      }
    }
  }
  __device__ void key_values(int b, float (&x)[8]) const { unpack(k[b], x); }
  __device__ void value_values(int b, float (&x)[8]) const { unpack(v[b], x); }
};

/// Adds keys of [begin, end) in batches that `source` fetches.
template <int kDim, int kThreads, int kKeyBatch, class Source>
__device__ void add_keys(
    const Shared<kDim, kThreads>& s, int begin, int end, Source& source, Sums& sums) {
  constexpr int kLanes = kDim / 8, kGroups = kThreads / kLanes;
  const int part = threadIdx.x % kLanes * 8;
  float q[kHeads][8];
#pragma unroll
  for (int h = 0; h < kHeads; ++h)
#pragma unroll
    for (int i = 0; i < 8; ++i) q[h][i] = s.q[h][part + i];
  // Whole warps stay together: groups without a key meet scores of minus infinity.
  for (int first = begin; first < end; first += kKeyBatch * kGroups) {
    float score[kHeads][kKeyBatch];
    source.fetch(first);
#pragma unroll
    for (int b = 0; b < kKeyBatch; ++b) {
      float x[8];
      source.key_values(b, x);
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
        float dot = 0;
#pragma unroll
        for (int i = 0; i < 8; ++i) dot = fmaf(q[h][i], x[i], dot);
#pragma unroll
        for (int i = 1; i < kLanes; i *= 2) dot += __shfl_xor_sync(kAllLanes, dot, i);
        score[h][b] = source.key(first, b) < end ? dot : -INFINITY;
      }
    }
    float weight[kHeads][kKeyBatch];
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      Running& state = sums.state[h];
      float most = state.maximum;
#pragma unroll
      for (int b = 0; b < kKeyBatch; ++b) most = fmaxf(most, score[h][b]);
      const float shrink = state.maximum == -INFINITY ? 0.0f : __expf(state.maximum - most);
      state.sum *= shrink;
#pragma unroll
      for (int b = 0; b < kKeyBatch; ++b) {
        weight[h][b] = score[h][b] == -INFINITY ? 0.0f : __expf(score[h][b] - most);
        state.sum += weight[h][b];
      }
      state.maximum = most;
#pragma unroll
      for (int i = 0; i < 8; ++i) sums.value[h][i] *= shrink;
    }
#pragma unroll
    for (int b = 0; b < kKeyBatch; ++b) {
      float x[8];
      source.value_values(b, x);
#pragma unroll
      for (int h = 0; h < kHeads; ++h)
#pragma unroll
        for (int i = 0; i < 8; ++i) sums.value[h][i] = fmaf(weight[h][b], x[i], sums.value[h][i]);
    }
  }
}

/// Merges the groups of a warp; then each lane's channels are those of its first group.
template <int kDim>
__device__ void merge_warp(Sums& sums) {
#pragma unroll
  for (int distance = kDim / 8; distance < 32; distance *= 2)
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      Running other;
      other.maximum = __shfl_xor_sync(kAllLanes, sums.state[h].maximum, distance);
      other.sum = __shfl_xor_sync(kAllLanes, sums.state[h].sum, distance);
      const float2 shrink = sums.state[h].merge(other);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const float value = __shfl_xor_sync(kAllLanes, sums.value[h][i], distance);
        sums.value[h][i] = sums.value[h][i] * shrink.x + value * shrink.y;
      }
    }
}

/// Channel d of `n` results merged, which lie `stride` floats apart: sums [kDim], maximum, sum.
template <int kDim>
__device__ float merge_all(const float* from, int n, std::int64_t stride, int d) {
  float most = -INFINITY, value = 0, sum = 0;
  for (int i = 0; i < n; ++i) most = fmaxf(most, from[i * stride + kDim]);
  for (int i = 0; i < n; ++i) {
    const float* one = from + i * stride;
    const float shrink = one[kDim] == -INFINITY ? 0.0f : expf(one[kDim] - most);
    value = fmaf(one[d], shrink, value);
    sum = fmaf(one[kDim + 1], shrink, sum);
  }
  return value / sum;
}

/// Merges the warps: results, or one split's part of them.
template <int kDim, int kThreads>
__device__ void merge_warps(Shared<kDim, kThreads>& s,
                            Sums& sums,
                            int heads,
                            float* out,
                            float* partial,
                            std::int64_t partial_stride) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  merge_warp<kDim>(sums);
  if (lane < kDim / 8)
    for (int h = 0; h < kHeads; ++h) {
      for (int i = 0; i < 8; ++i) s.sums[warp][h][lane * 8 + i] = sums.value[h][i];
      if (lane == 0) s.states[warp][h] = sums.state[h];
    }
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
    if (out != nullptr) {
      out[i] = value / sum;
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
