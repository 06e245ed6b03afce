// tile_attention of few tokens: as attention_split.cu does it, with keys and values from tiles and
// from the rows beside them.
#include "backends/cuda/kernels/attention_split_body.cuh"
#include "backends/cuda/kernels/tile_source.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 256;

struct TileSplitArgs {
  SplitArgs split;
  KvWindow rows[2];
  int state[2], window_state;
  quant::KvFormat format[2];
};

template <int kDim>
__global__ void __launch_bounds__(kThreads)
    tile_split_kernel(const __grid_constant__ TileSplitArgs a, const StepData* step) {
  __shared__ Shared<kDim, kThreads> s;
  __shared__ float levels[2][16];
  begin_step();
  const int t = blockIdx.z, y = blockIdx.y;
  if (t >= step->n_tokens) return;
  const AttentionAttr& attr = a.split.attr;
  const int place = kv_position(step) + t, group = attr.n_heads / attr.n_kv_heads;
  const int kv_head = y / a.split.chunks;
  const int first_head = kv_head * group + y % a.split.chunks * kHeads;
  const int heads = min(kHeads, (kv_head + 1) * group - first_head), n_keys = place + 1;
  const int each = max(kLeast, ((n_keys + a.split.n_splits - 1) / a.split.n_splits + 31) / 32 * 32);
  const int n_active = (n_keys + each - 1) / each, split = blockIdx.x;
  if (split >= n_active) return;
  if (threadIdx.x < 32)
    levels[threadIdx.x / 16][threadIdx.x % 16] =
        level_of(a.format[threadIdx.x / 16], threadIdx.x % 16);
  TileView view{{pages_of(step, a.state[0]), pages_of(step, a.state[1])},
                {a.format[0], a.format[1]},
                {a.rows[0], a.rows[1]},
                kv_head,
                min((split + 1) * each, n_keys),
                attr.tiles.sinks,
                sealed_before(place, attr.tiles.recent)};
  for (KvWindow& rows : view.rows) rows.begin(step, a.window_state);
  const std::int64_t row = std::int64_t{t} * attr.n_heads + first_head;
  prepare(s, a.split, a.split.q + row * kDim, heads, kv_head, false);
  __syncthreads();
  constexpr int kLanes = kDim / 8;
  TileSource<kDim> source{view, levels, static_cast<int>(threadIdx.x) % kLanes * 8,
                                    static_cast<int>(threadIdx.x) / kLanes};
  Sums sums;
  add_keys<kDim, kThreads, kQuad>(s, split * each, view.end, source, sums);
  merge_splits(s, a.split, sums, {split, n_active, heads, row},
               a.split.counters + t * gridDim.y + y);
}

}  // namespace

cudaError_t tile_attention_split(const Step& step, const Launch& launch) {
  const Operand &q = step.in[0], &window = step.in[5];
  TileSplitArgs args{};
  SplitArgs& split = args.split;
  split.q = q.f32();
  split.out = step.out[0].f32();
  split.partial = reinterpret_cast<float*>(step.scratch);
  split.counters = step.counters;
  split.attr = step.attr_as<AttentionAttr>();
  split.chunks = static_cast<int>(ceil_div(split.attr.n_heads / split.attr.n_kv_heads, kHeads));
  const int blocks = split.attr.n_kv_heads * split.chunks;
  split.n_splits = attention_splits(launch.caps, blocks);
  for (int half = 0; half < 2; ++half) {
    KvWindow& rows = args.rows[half];
    rows.rows = step.in[static_cast<std::size_t>(1 + half)].f32();
    rows.heads = split.attr.n_kv_heads;
    rows.slots = static_cast<int>(window.shape[1]);
    rows.dh = split.attr.head_dim;
    rows.sinks = split.attr.tiles.sinks;
    rows.half = half;
    args.state[half] = step.in[static_cast<std::size_t>(3 + half)].state_index;
    args.format[half] = step.in[static_cast<std::size_t>(3 + half)].kv;
  }
  args.window_state = window.state_index;
  const auto run = [&](auto kernel) {
    return start(launch, kernel, grid_of(split.n_splits, blocks, q.rows()), kThreads, 0, args,
                 launch.step);
  };
  return split.attr.head_dim == 64 ? run(tile_split_kernel<64>) : run(tile_split_kernel<128>);
}

}  // namespace runnel::cuda
