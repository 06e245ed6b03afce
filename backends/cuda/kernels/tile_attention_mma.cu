// tile_attention of many tokens on the tensor cores: a block takes 64 tokens of one head, a warp 16
// of them, and walks over the pages of 64 keys. Which keys are sealed depends on the token: a page
// that is sealed for some and not for others is taken twice, from its tiles and from its rows, and
// each token sees of either what it should. Tiles become f16 in shared memory.
#include "backends/cuda/kernels/attention_mma.cuh"

namespace runnel::cuda {
namespace {

struct TileMmaArgs {
  const float* q;
  float* out;
  KvWindow rows[2];
  int state[2], window_state;
  quant::KvFormat format[2];
  AttentionAttr attr;
};

/// Code of a value in a tile of few levels; its place as in tile_place().
__device__ int code_at(quant::KvFormat format, const std::uint8_t* codes, int place) {
  const int v = place / 64, b = place % 64;
  if (format == quant::KvFormat::kt4) return codes[v / 2 * 64 + b] >> (v % 2 * 4) & 15;
  const int code = codes[v / 4 * 64 + b] >> (v % 4 * 2) & 3;
  if (format == quant::KvFormat::kt2) return code;
  return code | (codes[256 + v / 8 * 64 + b] >> (v % 8) & 1) << 2;
}

/// What a block sees of a page.
struct PageView {
  std::byte* const* pages;
  const float* levels;  // [16]
  int key, head, half;  // first key of the page
  int begin, end;       // keys that any row needs; the others become zeros
  int sinks;            // of rows: keys before that are needed as well
};

template <int kDim>
__device__ void fill_sealed(__half* to, const TileMmaArgs& a, const PageView& view) {
  const quant::KvFormat format = a.format[view.half];
  for (int i = threadIdx.x; i < kPage * kDim; i += kThreads) {
    const int row = i / kDim, d = i % kDim, key = view.key + row;
    float value = 0;
    if (key >= view.begin && key < view.end) {
      const TilePart part = tile_part(view.pages, format, key, view.head, d / 64, kDim / 64);
      const int token = key % kTile, place = tile_place(view.half == 0, token, d % 64);
      const float level = format == quant::KvFormat::kt8
                              ? static_cast<float>(static_cast<std::int8_t>(part.codes[place]))
                              : view.levels[code_at(format, part.codes, place)];
      value = __half2float(part.scales[token]) * level;
    }
    to[row * (kDim + 8) + d] = __float2half_rn(value);
  }
}

template <int kDim>
__device__ void fill_rows(__half* to, const TileMmaArgs& a, const PageView& view) {
  for (int i = threadIdx.x; i < kPage * kDim; i += kThreads) {
    const int row = i / kDim, d = i % kDim, key = view.key + row;
    const bool needed = key < view.end && (key >= view.begin || key < view.sinks);
    const float value = needed ? a.rows[view.half].value(key, view.head, d) : 0.0f;
    to[row * (kDim + 8) + d] = __float2half_rn(value);
  }
}

template <int kDim>
__global__ void __launch_bounds__(kThreads) tile_mma_kernel(TileMmaArgs a, const StepData* step) {
  extern __shared__ uint4 shared[];
  __shared__ float levels[2][16];
  __half* const k = reinterpret_cast<__half*>(shared);
  __half* const v = k + kPage * (kDim + 8);
  begin_step();
  const int n_tokens = step->n_tokens, first = static_cast<int>(blockIdx.x) * kRows;
  if (first >= n_tokens) return;
  if (threadIdx.x < 32)
    levels[threadIdx.x / 16][threadIdx.x % 16] =
        level_of(a.format[threadIdx.x / 16], threadIdx.x % 16);
  for (KvWindow& rows : a.rows) rows.begin(step, a.window_state);
  const int head = blockIdx.y, kv_head = head / (a.attr.n_heads / a.attr.n_kv_heads);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, stride = a.attr.n_heads * kDim;
  const int sinks = a.attr.tiles.sinks, recent = a.attr.tiles.recent;
  const int first_place = kv_position(step) + first;
  const int last_place = kv_position(step) + min(first + kRows, n_tokens) - 1;
  const int some_sealed = sealed_before(last_place, recent);
  const int all_sealed = sealed_before(first_place, recent);
  Queries<kDim> q;
  q.load(a.q + head * kDim, stride, first + warp * 16, n_tokens, a.attr.scale * 1.44269504f);
  TwoRows rows;
  float sums[kDim / 8][4] = {};
  const auto take = [&](int key, auto fill, auto sees) {
    __syncthreads();
    fill(k, key, 0);
    fill(v, key, 1);
    __syncthreads();
    float s[8][4] = {};
    score<kDim>(q, k, s);
    soften<kDim>(s, rows, sums, first_place + warp * 16 + lane / 4, key, sees);
    add_values<kDim>(s, v, sums);
  };
  for (int key = 0; key <= last_place; key += kPage) {
    if (key < some_sealed && key + kPage > sinks)
      take(
          key,
          [&](__half* to, int at, int half) {
            fill_sealed<kDim>(to, a,
                              {pages_of(step, a.state[half]), levels[half], at, kv_head, half,
                               sinks, some_sealed, 0});
          },
          [&](int at, int place) { return at >= sinks && at < sealed_before(place, recent); });
    if (key < sinks || key + kPage > all_sealed)
      take(
          key,
          [&](__half* to, int at, int half) {
            fill_rows<kDim>(
                to, a, {nullptr, nullptr, at, kv_head, half, all_sealed, last_place + 1, sinks});
          },
          [&](int at, int place) {
            return at <= place && (at < sinks || at >= sealed_before(place, recent));
          });
  }
  write_rows<kDim>(rows, sums, a.out + head * kDim, stride, first + warp * 16, n_tokens);
}

}  // namespace

cudaError_t tile_attention_mma(const Step& step, const Launch& launch) {
  const Operand &q = step.in[0], &window = step.in[5];
  TileMmaArgs args{};
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
  const int dim = args.attr.head_dim;
  const auto run = [&](auto kernel) {
    return start(launch, kernel, grid_of(ceil_div(q.rows(), kRows), args.attr.n_heads), kThreads,
                 static_cast<std::size_t>(2 * kPage * (dim + 8)) * sizeof(__half), args,
                 launch.step);
  };
  return dim == 64 ? run(tile_mma_kernel<64>) : run(tile_mma_kernel<128>);
}

}  // namespace runnel::cuda
