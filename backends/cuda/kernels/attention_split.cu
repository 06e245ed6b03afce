// attention of few tokens over f16 pages: bound by reading keys and values once. The keys are cut
// into as many splits as fill the device; a block takes up to 4 query heads of one KV head and one
// split, 8 or 16 lanes share a key. The last block of a (token, heads) to finish merges the splits
// in their order. Splits depend on the number of keys alone.
#include "backends/cuda/kernels/attention_split.cuh"
#include "backends/cuda/kernels/kv_rows.cuh"
#include "backends/cuda/kernels/softmax.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kHeads = 4;   // of a block
constexpr int kBatch = 4;   // keys whose loads are under way at once
constexpr int kLeast = 64;  // keys of a split

template <int kDim>
struct Shared {
  float cosine[kDim / 2], sine[kDim / 2];
  float q[kHeads][kDim];
  __half k[kDim], v[kDim];  // of the step's token
  Running states[kWarps][kHeads];
  float sums[kWarps][kHeads][kDim];
  bool last;
};

/// Cosines and sines of one position; needs nothing of the kernel before.
template <int kDim>
__device__ void make_table(Shared<kDim>& s, const HeadWork& work, int position) {
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
template <int kDim, class Put>
__device__ void prepare_head(const Shared<kDim>& s, const HeadWork& work, const float* x, Put put) {
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

template <int kDim>
__device__ void add_keys(const Shared<kDim>& s, const Keys& keys, Sums& sums) {
  constexpr int kLanes = kDim / 8, kGroups = kThreads / kLanes;
  const int part = threadIdx.x % kLanes * 8, group = threadIdx.x / kLanes;
  float q[kHeads][8];
#pragma unroll
  for (int h = 0; h < kHeads; ++h)
#pragma unroll
    for (int i = 0; i < 8; ++i) q[h][i] = s.q[h][part + i];
  // Whole warps stay together: groups without a key meet scores of minus infinity.
  for (int first = keys.begin; first < keys.end; first += kBatch * kGroups) {
    uint4 k[kBatch], v[kBatch];
    float score[kHeads][kBatch];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
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
    for (int b = 0; b < kBatch; ++b) {
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
    float weight[kHeads][kBatch];
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      Running& state = sums.state[h];
      float most = state.maximum;
#pragma unroll
      for (int b = 0; b < kBatch; ++b) most = fmaxf(most, score[h][b]);
      const float shrink = state.maximum == -INFINITY ? 0.0f : __expf(state.maximum - most);
      state.sum *= shrink;
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        weight[h][b] = score[h][b] == -INFINITY ? 0.0f : __expf(score[h][b] - most);
        state.sum += weight[h][b];
      }
      state.maximum = most;
#pragma unroll
      for (int i = 0; i < 8; ++i) sums.value[h][i] *= shrink;
    }
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
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
template <int kDim>
__device__ void prepare(
    Shared<kDim>& s, const SplitArgs& a, const float* q, int heads, int kv_head, bool newest) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (warp < kHeads) {
    prepare_head<kDim>(s, a.q_work, q + min(warp, heads - 1) * kDim,
                       [&](int i, float v) { s.q[warp][i] = v * a.attr.scale; });
  } else if (newest && warp == kHeads) {
    prepare_head<kDim>(s, a.k_work, a.k + std::int64_t{kv_head} * kDim,
                       [&](int i, float v) { s.k[i] = __float2half_rn(v); });
  } else if (newest && warp == kHeads + 1) {
    for (int i = lane; i < kDim; i += 32)
      s.v[i] = __float2half_rn(a.v[std::int64_t{kv_head} * kDim + i]);
  }
}

/// Merges the warps: results, or one split's part of them.
template <int kDim>
__device__ void merge_warps(Shared<kDim>& s,
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
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    shared = atomicAdd(counter, 1u) == static_cast<std::uint32_t>(n - 1);
    if (shared) *counter = 0;
  }
  __syncthreads();
  __threadfence();
  return shared;
}

template <int kDim>
__global__ void __launch_bounds__(kThreads)
    split_kernel(const __grid_constant__ SplitArgs a, const StepData* step) {
  __shared__ Shared<kDim> s;
  const int t = blockIdx.z, place = kv_position(step) + t, n_heads = a.attr.n_heads;
  allow_next();
  make_table(s, a.q_work, step->pos + t);
  wait_previous();
  if (t >= step->n_tokens) return;
  const int group = n_heads / a.attr.n_kv_heads, kv_head = blockIdx.y / a.chunks;
  const int chunk = static_cast<int>(blockIdx.y) % a.chunks;
  const int first_head = kv_head * group + chunk * kHeads;
  const int heads = min(kHeads, (kv_head + 1) * group - first_head);
  const int first_key = a.attr.window > 0 ? max(0, place - a.attr.window + 1) : 0;
  const int n_keys = place + 1 - first_key;
  const int each = max(kLeast, ((n_keys + a.n_splits - 1) / a.n_splits + 31) / 32 * 32);
  const int n_active = (n_keys + each - 1) / each, split = blockIdx.x;
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
  add_keys<kDim>(s, keys, sums);
  const std::int64_t stride = std::int64_t{a.n_splits} * (kDim + 2);
  float* const partial = a.partial + row * stride;
  merge_warps(s, sums, heads, n_active == 1 ? a.out + row * kDim : nullptr,
              partial + split * (kDim + 2), stride);
  if (n_active == 1 || !is_last(a.counters + t * gridDim.y + blockIdx.y, n_active, s.last)) return;
  for (int i = threadIdx.x; i < heads * kDim; i += kThreads) {
    Running all;
    const float value =
        merge_all<kDim>(partial + i / kDim * stride, n_active, kDim + 2, i % kDim, all);
    a.out[row * kDim + i] = value / all.sum;
  }
}

}  // namespace

cudaError_t launch_attention_split(const SplitArgs& given, int max_tokens, const Launch& launch) {
  SplitArgs args = given;
  const int group = args.attr.n_heads / args.attr.n_kv_heads;
  args.chunks = (group + kHeads - 1) / kHeads;
  const int blocks = args.attr.n_kv_heads * args.chunks;
  args.n_splits = attention_splits(launch.caps, blocks);
  const auto run = [&](auto kernel) {
    return start(launch, kernel, grid_of(args.n_splits, blocks, max_tokens), kThreads, 0, args,
                 launch.step);
  };
  return args.attr.head_dim == 64 ? run(split_kernel<64>) : run(split_kernel<128>);
}

std::size_t attention_scratch(const Graph& graph, const Node& node) {
  const auto& attr = std::get<AttentionAttr>(node.attr);
  const auto rows = static_cast<std::size_t>(graph.value(node.in[0]).shape[0] * attr.n_heads);
  return rows * kMostSplits * static_cast<std::size_t>(attr.head_dim + 2) * sizeof(float);
}

cudaError_t attention_split(const Step& step, const Launch& launch) {
  SplitArgs args{};
  args.q = step.in[0].f32();
  args.out = step.out[0].f32();
  args.partial = reinterpret_cast<float*>(step.scratch);
  args.counters = step.counters;
  args.k_state = step.in[1].state_index;
  args.v_state = step.in[2].state_index;
  args.attr = step.attr_as<AttentionAttr>();
  return launch_attention_split(args, step.in[0].rows(), launch);
}

cudaError_t attention_step(const Step& step, const Launch& launch) {
  SplitArgs args{};
  args.q = step.in[0].f32();
  args.k = step.in[1].f32();
  args.v = step.in[2].f32();
  args.out = step.out[0].f32();
  args.partial = reinterpret_cast<float*>(step.scratch);
  args.counters = step.counters;
  args.k_state = step.in[3].state_index;
  args.v_state = step.in[4].state_index;
  args.attr = step.attr_as<AttentionAttr>();
  args.q_work = {step.extra[0].f32(), step.rope.eps,        step.device_constants,
                 step.extra[2].f32(), step.rope.rotary_dim, step.rope.style};
  args.k_work = args.q_work;
  args.k_work.norm = step.extra[1].f32();
  return launch_attention_split(args, 1, launch);
}

}  // namespace runnel::cuda
