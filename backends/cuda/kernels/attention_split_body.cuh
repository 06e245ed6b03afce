// attention of few tokens over f16 pages, one block's part; see attention_split.cu.
#pragma once
#include "backends/cuda/kernels/attention_split.cuh"
#include "backends/cuda/kernels/kv_rows.cuh"
#include "backends/cuda/kernels/softmax.cuh"

namespace runnel::cuda {
namespace {

constexpr int kHeads = 4;   // of a block
constexpr int kLeast = 64;  // keys of a split

template <int kDim, int kThreads>
struct Shared {
  static constexpr int kWarps = kThreads / 32;
  float cosine[kDim / 2], sine[kDim / 2];
  float q[kHeads][kDim];
  __half k[kDim], v[kDim];  // of the step's token
  Running states[kWarps][kHeads];
  float sums[kWarps][kHeads][kDim];
  bool last;
};

/// Cosines and sines of one position; needs nothing of the kernel before.
template <int kDim, int kThreads>
__device__ void make_table(Shared<kDim, kThreads>& s, const HeadWork& work, int position) {
  if (work.speed == nullptr) return;
  for (int i = threadIdx.x; i < work.rotary_dim / 2; i += kThreads) {
    const double factor = work.factors != nullptr ? static_cast<double>(work.factors[i]) : 1.0;
    double sine, cosine;
    sincos(static_cast<double>(position) * (work.speed[i] / factor), &sine, &cosine);
    s.cosine[i] = static_cast<float>(cosine);
    s.sine[i] = static_cast<float>(sine);
  }
}

/// One warp: head x, normalised and rotated; put(i, value) takes the values.
template <int kDim, int kThreads, class Put>
__device__ void prepare_head(const Shared<kDim, kThreads>& s, const HeadWork& work, const float* x, Put put) {
  const int lane = threadIdx.x % 32, pairs = work.speed != nullptr ? work.rotary_dim / 2 : 0;
  float scale = 1.0f;
  if (work.norm != nullptr) {
    float squares = 0;
    for (int i = lane; i < kDim; i += 32) squares += x[i] * x[i];
    scale = 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(kDim) + work.eps);
  }
  const auto value = [&](int i) {
    return work.norm != nullptr ? x[i] * scale * work.norm[i] : x[i];
  };
  const bool half = work.style == RopeStyle::half;
  for (int i = lane; i < pairs; i += 32) {
    const int first = half ? i : 2 * i, second = half ? i + pairs : 2 * i + 1;
    const float u = value(first), v = value(second);
    put(first, u * s.cosine[i] - v * s.sine[i]);
    put(second, v * s.cosine[i] + u * s.sine[i]);
  }
  for (int i = 2 * pairs + lane; i < kDim; i += 32) put(i, value(i));
}

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

/// `kKeyBatch`: keys whose loads are under way at once.
template <int kDim, int kThreads, int kKeyBatch>
__device__ void add_keys(const Shared<kDim, kThreads>& s, const Keys& keys, Sums& sums) {
  constexpr int kLanes = kDim / 8, kGroups = kThreads / kLanes;
  const int part = threadIdx.x % kLanes * 8, group = threadIdx.x / kLanes;
  float q[kHeads][8];
#pragma unroll
  for (int h = 0; h < kHeads; ++h)
#pragma unroll
    for (int i = 0; i < 8; ++i) q[h][i] = s.q[h][part + i];
  // Whole warps stay together: groups without a key meet scores of minus infinity.
  for (int first = keys.begin; first < keys.end; first += kKeyBatch * kGroups) {
    uint4 k[kKeyBatch], v[kKeyBatch];
    float score[kHeads][kKeyBatch];
#pragma unroll
    for (int b = 0; b < kKeyBatch; ++b) {
      const int key = min(first + b * kGroups + group, keys.end - 1);
      if (key == keys.fresh) {
        k[b] = *reinterpret_cast<const uint4*>(s.k + part);
        v[b] = *reinterpret_cast<const uint4*>(s.v + part);
      } else {
        k[b] = *reinterpret_cast<const uint4*>(
            page_row<__half>(keys.k_pages, key, keys.head, kDim) + part);
        v[b] = *reinterpret_cast<const uint4*>(
            page_row<__half>(keys.v_pages, key, keys.head, kDim) + part);
      }
    }
#pragma unroll
    for (int b = 0; b < kKeyBatch; ++b) {
      float x[8];
      unpack(k[b], x);
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
        float dot = 0;
#pragma unroll
        for (int i = 0; i < 8; ++i) dot = fmaf(q[h][i], x[i], dot);
#pragma unroll
        for (int i = 1; i < kLanes; i *= 2) dot += __shfl_xor_sync(kAllLanes, dot, i);
        score[h][b] = first + b * kGroups + group < keys.end ? dot : -INFINITY;
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
      unpack(v[b], x);
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

/// Merges `n` results that lie `stride` floats apart: sums [kDim], maximum, sum.
template <int kDim>
__device__ float merge_all(const float* from, int n, std::int64_t stride, int d, Running& all) {
  float value = 0;
  for (int i = 0; i < n; ++i, from += stride) {
    Running one;
    one.maximum = from[kDim];
    one.sum = from[kDim + 1];
    const float2 shrink = all.merge(one);
    value = value * shrink.x + from[d] * shrink.y;
  }
  return value;
}

/// Heads of the step's token into shared memory, and its key and value where this block has them.
template <int kDim, int kThreads>
__device__ void prepare(
    Shared<kDim, kThreads>& s, const SplitArgs& a, const float* q, int heads, int kv_head, bool newest) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (warp < kHeads) {
    prepare_head<kDim, kThreads>(s, a.q_work, q + min(warp, heads - 1) * kDim,
                       [&](int i, float v) { s.q[warp][i] = v * a.attr.scale; });
  } else if (newest && warp == kHeads) {
    prepare_head<kDim, kThreads>(s, a.k_work, a.k + std::int64_t{kv_head} * kDim,
                       [&](int i, float v) { s.k[i] = __float2half_rn(v); });
  } else if (newest && warp == kHeads + 1) {
    for (int i = lane; i < kDim; i += 32)
      s.v[i] = __float2half_rn(a.v[std::int64_t{kv_head} * kDim + i]);
  }
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
  for (int i = threadIdx.x; i < heads * kDim; i += kThreads) {
    const int h = i / kDim, d = i % kDim;
    Running all;
    float value = 0;
    for (int w = 0; w < kWarps; ++w) {
      const float2 shrink = all.merge(s.states[w][h]);
      value = value * shrink.x + s.sums[w][h][d] * shrink.y;
    }
    if (out != nullptr) {
      out[i] = value / all.sum;
      continue;
    }
    float* to = partial + h * partial_stride;
    to[d] = value;
    if (d == 0) {
      to[kDim] = all.maximum;
      to[kDim + 1] = all.sum;
    }
  }
}

/// Whether this block is the last of `n` to get here; then it sees what the others wrote.
__device__ bool is_last(std::uint32_t* counter, int n, bool& shared) {
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

/// One block's split: `y` is its KV head and chunk of heads. REQUIRES: make_table() was called.
template <int kKeyBatch, int kDim, int kThreads>
__device__ void attend(Shared<kDim, kThreads>& s,
                       const SplitArgs& a,
                       const StepData* step,
                       int t,
                       int split,
                       int y,
                       std::uint32_t* counter) {
  const int place = kv_position(step) + t, n_heads = a.attr.n_heads;
  const int group = n_heads / a.attr.n_kv_heads, kv_head = y / a.chunks;
  const int chunk = y % a.chunks;
  const int first_head = kv_head * group + chunk * kHeads;
  const int heads = min(kHeads, (kv_head + 1) * group - first_head);
  const int first_key = a.attr.window > 0 ? max(0, place - a.attr.window + 1) : 0;
  const int n_keys = place + 1 - first_key;
  const int each = max(kLeast, ((n_keys + a.n_splits - 1) / a.n_splits + 31) / 32 * 32);
  const int n_active = (n_keys + each - 1) / each;
  if (split >= n_active) return;
  const bool append = a.k != nullptr && place >= step->kv_keep - step->kv_gap;
  const bool newest = append && split == n_active - 1;
  Keys keys{pages_of(step, a.k_state), pages_of(step, a.v_state),
            first_key + split * each,  min(first_key + (split + 1) * each, place + 1),
            newest ? place : -1,       kv_head};
  const std::int64_t row = std::int64_t{t} * n_heads + first_head;
  __syncthreads();
  prepare(s, a, a.q + row * kDim, heads, kv_head, newest);
  __syncthreads();
  if (newest && chunk == 0)
    for (int i = threadIdx.x; i < kDim; i += kThreads) {
      page_row<__half>(keys.k_pages, place, kv_head, kDim)[i] = s.k[i];
      page_row<__half>(keys.v_pages, place, kv_head, kDim)[i] = s.v[i];
    }
  Sums sums;
  add_keys<kDim, kThreads, kKeyBatch>(s, keys, sums);
  const std::int64_t stride = std::int64_t{a.n_splits} * (kDim + 2);
  float* const partial = a.partial + row * stride;
  merge_warps(s, sums, heads, n_active == 1 ? a.out + row * kDim : nullptr,
              partial + split * (kDim + 2), stride);
  if (n_active == 1 || !is_last(counter, n_active, s.last)) return;
  for (int i = threadIdx.x; i < heads * kDim; i += kThreads) {
    Running all;
    const float value =
        merge_all<kDim>(partial + i / kDim * stride, n_active, kDim + 2, i % kDim, all);
    a.out[row * kDim + i] = value / all.sum;
  }
}


}  // namespace
}  // namespace runnel::cuda
