// Heads of the step's token for attention of few tokens: normalised, rotated, in shared memory.
#pragma once
#include "backends/cuda/kernels/attention_split.cuh"
#include "backends/cuda/kernels/hadamard.cuh"
#include "backends/cuda/kernels/softmax.cuh"

namespace runnel::cuda {
namespace {

constexpr int kHeads = 4;    // of a block
constexpr int kLeast = 256;  // keys of a split: to merge splits takes as long as to read so many

/// Of a softmax over some keys, as in Running, which shared memory cannot hold.
struct State {
  float maximum, sum;
};

template <int kDim, int kThreads>
struct Shared {
  static constexpr int kWarps = kThreads / 32;
  float cosine[kDim / 2], sine[kDim / 2];
  float q[kHeads][kDim];  // queries, then results
  float fresh[2][kDim];   // key and value of the step's token
  State states[kWarps][kHeads];
  float sums[kWarps][kHeads][kDim];
  float shrink[kWarps][kHeads];  // of what a warp added up
  State parts[kMostSplits][kHeads], whole[kHeads];
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

/// What warps do with the heads of the step's token: the first kHeads with queries, then one with
/// the key and one with the value. Gains of its norm are fetched before the kernel in front has
/// ended.
template <int kDim>
struct HeadTask {
  const HeadWork* work;
  float gains[kDim / 32];  // of this lane's channels

  __device__ explicit HeadTask(const SplitArgs& a) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    work = warp < kHeads ? &a.q_work : warp == kHeads ? &a.k_work : &a.v_work;
#pragma unroll
    for (int j = 0; j < kDim / 32; ++j)
      gains[j] = work->norm != nullptr ? work->norm[lane + 32 * j] : 1.0f;
  }
  __device__ void normalise(float (&x)[kDim / 32]) const {
    float squares = 0;
#pragma unroll
    for (const float v : x) squares += v * v;
    const float scale = rsqrtf(warp_sum(squares) * (1.0f / kDim) + work->eps);
#pragma unroll
    for (int j = 0; j < kDim / 32; ++j) x[j] = x[j] * scale * gains[j];
  }
};

/// One warp: head `from`, normalised, rotated, transformed, into shared memory.
template <int kDim, int kThreads>
__device__ void put_head(const Shared<kDim, kThreads>& s,
                         const HeadTask<kDim>& task,
                         const float* from,
                         float factor,
                         float (&to)[kDim]) {
  const HeadWork& work = *task.work;
  const int lane = threadIdx.x % 32, pairs = work.speed != nullptr ? work.rotary_dim / 2 : 0;
  float x[kDim / 32];
#pragma unroll
  for (int j = 0; j < kDim / 32; ++j) x[j] = from[lane + 32 * j];
  if (work.norm != nullptr) task.normalise(x);
#pragma unroll
  for (int j = 0; j < kDim / 32; ++j) to[lane + 32 * j] = x[j];
  __syncwarp();
  const bool half = work.style == RopeStyle::half;
  for (int i = lane; i < pairs; i += 32) {
    const int first = half ? i : 2 * i, second = half ? i + pairs : 2 * i + 1;
    const float u = to[first], v = to[second];
    to[first] = u * s.cosine[i] - v * s.sine[i];
    to[second] = v * s.cosine[i] + u * s.sine[i];
  }
  __syncwarp();
#pragma unroll
  for (int i = lane; i < kDim; i += 64) {
    float u = to[i], v = to[i + 32];
    if (work.turn.transform) transform(u, v, work.turn);
    to[i] = u * factor;
    to[i + 32] = v * factor;
  }
}

/// Heads of the step's token into shared memory, and its key and value where this block has them.
template <int kDim, int kThreads>
__device__ void prepare(Shared<kDim, kThreads>& s,
                        const SplitArgs& a,
                        const HeadTask<kDim>& task,
                        const float* q,
                        int heads,
                        int kv_head,
                        bool newest) {
  const int warp = threadIdx.x / 32;
  const std::int64_t kv = std::int64_t{kv_head} * kDim;
  if (warp < kHeads) {
    put_head(s, task, q + min(warp, heads - 1) * kDim, a.attr.scale, s.q[warp]);
  } else if (newest && warp < kHeads + 2) {
    const bool key = warp == kHeads;
    put_head(s, task, (key ? a.k : a.v) + kv, 1.0f, s.fresh[key ? 0 : 1]);
  }
}

/// Results in s.q, transformed where that is asked for, to where they belong.
template <int kDim, int kThreads>
__device__ void write_results(const Shared<kDim, kThreads>& s,
                              const RotateAttr& turn,
                              int heads,
                              float* out) {
  __syncthreads();
  for (int i = threadIdx.x / 32 * 64 + threadIdx.x % 32; i < heads * kDim; i += 2 * kThreads) {
    float u = s.q[0][i], v = s.q[0][i + 32];
    if (turn.transform) transform(u, v, turn);
    out[i] = u;
    out[i + 32] = v;
  }
}

}  // namespace
}  // namespace runnel::cuda
