// attention over pages of plain rows, for any head size up to 256: one block per (token, head),
// whose warps share the keys; online softmax in f32.
#include "backends/cuda/kernels/kv_rows.cuh"
#include "backends/cuda/kernels/softmax.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / 32;
constexpr int kMostPerLane = 8;  // channels

struct AttentionArgs {
  const float* q;
  float* out;
  int k_state, v_state;
  AttentionAttr attr;
};

__device__ float as_f32(float x) {
  return x;
}
__device__ float as_f32(__half x) {
  return __half2float(x);
}

/// Merges the warps' states and writes the head's result.
__device__ void finish(Running state, const float (&sum)[kMostPerLane], float* out, int dh) {
  __shared__ Running states[kWarps];
  __shared__ float sums[kWarps][32 * kMostPerLane];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int i = 0; i < kMostPerLane; ++i) sums[warp][lane + 32 * i] = sum[i];
  if (lane == 0) states[warp] = state;
  __syncthreads();
  for (int d = threadIdx.x; d < dh; d += kThreads) {
    Running all;
    float value = 0;
    for (int w = 0; w < kWarps; ++w) {
      const float2 shrink = all.merge(states[w]);
      value = value * shrink.x + sums[w][d] * shrink.y;
    }
    out[d] = value / all.sum;
  }
}

template <class T>
__global__ void attention_kernel(AttentionArgs a, const StepData* step) {
  begin_step();
  const int t = blockIdx.x, head = blockIdx.y;
  if (t >= step->n_tokens) return;
  const int dh = a.attr.head_dim, place = kv_position(step) + t;
  const int kv_head = head / (a.attr.n_heads / a.attr.n_kv_heads);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  std::byte* const* k_pages = pages_of(step, a.k_state);
  std::byte* const* v_pages = pages_of(step, a.v_state);
  const std::int64_t row = (std::int64_t{t} * a.attr.n_heads + head) * dh;
  float q[kMostPerLane], sum[kMostPerLane] = {};
  for (int i = 0; i < kMostPerLane; ++i) q[i] = lane + 32 * i < dh ? a.q[row + lane + 32 * i] : 0;
  const int first = a.attr.window > 0 ? max(0, place - a.attr.window + 1) : 0;
  Running state;
  for (int key = first + warp; key <= place; key += kWarps) {
    const T* k = page_row<T>(k_pages, key, kv_head, dh);
    const T* v = page_row<T>(v_pages, key, kv_head, dh);
    float dot = 0;
    for (int i = 0; i < kMostPerLane; ++i)
      if (lane + 32 * i < dh) dot += q[i] * as_f32(k[lane + 32 * i]);
    float shrink;
    const float weight = state.add(a.attr.scale * warp_sum(dot), shrink);
    for (int i = 0; i < kMostPerLane; ++i)
      if (lane + 32 * i < dh) sum[i] = sum[i] * shrink + weight * as_f32(v[lane + 32 * i]);
  }
  finish(state, sum, a.out + row, dh);
}

struct TileAttentionArgs {
  const float* q;
  float* out;
  KvWindow rows[2];
  int state[2], window_state;
  quant::KvFormat format[2];
  AttentionAttr attr;
};

/// Channel d of key or value `place`, from its tile or its row.
__device__ float tiled_value(const TileAttentionArgs& a,
                             std::byte* const* pages,
                             int half,
                             int place,
                             int head,
                             int d,
                             bool sealed) {
  if (!sealed) return a.rows[half].value(place, head, d);
  const TilePart part = tile_part(pages, a.format[half], place, head, d / 64, a.attr.head_dim / 64);
  const int token = place % kTile;
  return __half2float(part.scales[token]) *
         static_cast<float>(
             tile_level(a.format[half], part.codes, tile_place(half == 0, token, d % 64)));
}

__global__ void tile_attention_kernel(TileAttentionArgs a, const StepData* step) {
  begin_step();
  const int t = blockIdx.x, head = blockIdx.y;
  if (t >= step->n_tokens) return;
  const int dh = a.attr.head_dim, place = kv_position(step) + t;
  const int kv_head = head / (a.attr.n_heads / a.attr.n_kv_heads);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (KvWindow& rows : a.rows) rows.begin(step, a.window_state);
  std::byte* const* k_pages = pages_of(step, a.state[0]);
  std::byte* const* v_pages = pages_of(step, a.state[1]);
  const std::int64_t row = (std::int64_t{t} * a.attr.n_heads + head) * dh;
  float q[kMostPerLane], sum[kMostPerLane] = {};
  for (int i = 0; i < kMostPerLane; ++i) q[i] = lane + 32 * i < dh ? a.q[row + lane + 32 * i] : 0;
  const int sealed_end = sealed_before(place, a.attr.tiles.recent);
  Running state;
  for (int key = warp; key <= place; key += kWarps) {
    const bool sealed = key >= a.attr.tiles.sinks && key < sealed_end;
    float dot = 0;
    for (int i = 0; i < kMostPerLane; ++i)
      if (lane + 32 * i < dh)
        dot += q[i] * tiled_value(a, k_pages, 0, key, kv_head, lane + 32 * i, sealed);
    float shrink;
    const float weight = state.add(a.attr.scale * warp_sum(dot), shrink);
    for (int i = 0; i < kMostPerLane; ++i)
      if (lane + 32 * i < dh)
        sum[i] = sum[i] * shrink +
                 weight * tiled_value(a, v_pages, 1, key, kv_head, lane + 32 * i, sealed);
  }
  finish(state, sum, a.out + row, dh);
}

}  // namespace

cudaError_t attention(const Step& step, const Launch& launch) {
  const Operand &q = step.in[0], &k = step.in[1];
  const AttentionArgs args{q.f32(), step.out[0].f32(), k.state_index, step.in[2].state_index,
                           step.attr_as<AttentionAttr>()};
  const auto run = [&](auto kernel) {
    return start(launch, kernel, grid_of(q.rows(), args.attr.n_heads), kThreads, 0, args,
                 launch.step);
  };
  return k.dtype == DType::f16 ? run(attention_kernel<__half>) : run(attention_kernel<float>);
}

cudaError_t tile_attention(const Step& step, const Launch& launch) {
  const Operand &q = step.in[0], &window = step.in[5];
  TileAttentionArgs args{};
  args.q = q.f32();
  args.out = step.out[0].f32();
  args.attr = step.attr_as<AttentionAttr>();
  for (int half = 0; half < 2; ++half) {
    KvWindow& rows = args.rows[half];
    rows.rows = step.in[static_cast<std::size_t>(1 + half)].f32();
    rows.heads = args.attr.n_kv_heads;
    rows.slots = static_cast<int>(window.shape[1]);
    rows.dh = args.attr.head_dim;
    rows.sinks = args.attr.tiles.sinks;
    rows.half = half;
    args.state[half] = step.in[static_cast<std::size_t>(3 + half)].state_index;
    args.format[half] = step.in[static_cast<std::size_t>(3 + half)].kv;
  }
  args.window_state = window.state_index;
  return start(launch, tile_attention_kernel, grid_of(q.rows(), args.attr.n_heads), kThreads, 0,
               args, launch.step);
}

}  // namespace runnel::cuda
