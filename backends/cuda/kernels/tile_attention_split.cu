// tile_attention of few tokens: as attention_split.cu does it, with keys and values from tiles and
// from the rows beside them.
#include "backends/cuda/kernels/attention_split_body.cuh"

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
  allow_next();
  make_table(s, a.split.q_work, step->pos + static_cast<int>(blockIdx.z));
  wait_previous();
  const int t = blockIdx.z, x = blockIdx.x, y = blockIdx.y;
  if (t >= step->n_tokens) return;
  const AttentionAttr& attr = a.split.attr;
  const int place = kv_position(step) + t;
  const KeyShare share(a.split, t, x, y, 0, place);
  if (x >= share.n_splits) return;
  const TileView tiles{{pages_of(step, a.state[0]), pages_of(step, a.state[1])},
                       {a.format[0], a.format[1]},
                       share.kv_head};
  WindowRows rows{{a.rows[0], a.rows[1]}, share.kv_head};
  for (KvWindow& half : rows.rows) half.begin(step, a.window_state);
  const bool newest = keeps(a.split, step, share, place);
  __syncthreads();
  prepare(s, a.split, a.split.q + share.row * kDim, share.heads, share.kv_head, newest);
  __syncthreads();
  if (a.split.k != nullptr)
    for (KvWindow& half : rows.rows) half.split = place + 1;  // or will be there
  if (newest) {  // every chunk of heads writes the same
    for (int i = threadIdx.x; i < kDim; i += kThreads)
      for (int half = 0; half < 2; ++half)
        rows.rows[half].slot(place, share.kv_head)[i] = __float2half_rn(s.fresh[half][i]);
    __syncthreads();
  }
  const int sealed_begin = attr.tiles.sinks, sealed_end = sealed_before(place, attr.tiles.recent);
  const auto sealed = [&](int key) { return key >= sealed_begin && key < sealed_end; };
  HeadSums<kDim> sums;
  with_codes(a.format[0], [&](auto codes) { sums.load(s.q[0], kHeads, codes); });
  for (int first = share.begin + kKeyBatch * (threadIdx.x / 32); first < share.end;
       first += kKeyBatch * kThreads / 32) {
    const int last = min(first + kKeyBatch, share.end) - 1;
    if (first < sealed_end && last >= sealed_begin)
      take_tiles(sums, tiles, first, [&](int key) { return key <= last && sealed(key); });
    if (!sealed(first) || !sealed(last))
      with_codes(a.format[0], [&](auto codes) {
        take_rows(sums, rows, first, last, codes,
                  [&](int key) { return key <= last && !sealed(key); });
      });
  }
  merge_shares(s, a.split, sums, share, a.split.counters + t * gridDim.y + y);
}

cudaError_t launch_tile_split(const Step& step, const SplitArgs& work, const Launch& launch) {
  const Operand &q = step.in[0], &window = step.in[5];
  TileSplitArgs args{};
  SplitArgs& split = args.split = work;
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

}  // namespace

cudaError_t tile_attention_split(const Step& step, const Launch& launch) {
  return launch_tile_split(step, {}, launch);
}

cudaError_t tile_attention_step(const Step& step, const Launch& launch) {
  SplitArgs work{};
  take_head_work(work, step);
  return launch_tile_split(step, work, launch);
}

}  // namespace runnel::cuda
