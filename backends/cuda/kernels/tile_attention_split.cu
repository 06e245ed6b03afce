// tile_attention of few tokens: as attention_split.cu does it, with keys and values from tiles and
// from the rows beside them.
#include "backends/cuda/kernels/attention_split_body.cuh"
#include "backends/cuda/kernels/tile_batches.cuh"

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
__global__ void __launch_bounds__(kThreads, kDim == 64 ? 2 : 1)
    tile_split_kernel(const __grid_constant__ TileSplitArgs a, const StepData* step) {
  __shared__ Shared<kDim, kThreads> s;
  const SplitBlock at(a.split);
  allow_next();
  if (at.idle(a.split) || at.token >= step->n_tokens) return wait_previous();
  make_table(s, a.split.q_work, step->pos + at.token);
  const AttentionAttr& attr = a.split.attr;
  const int place = kv_position(step) + at.token;
  const KeyShare share(a.split, at.token, at.split, at.heads, 0, place);
  const HeadTask<kDim> heads(a.split);
  const TileView tiles{{pages_of(step, a.state[0]), pages_of(step, a.state[1])},
                       {a.format[0], a.format[1]},
                       share.kv_head};
  WindowBatch<kDim> rows{{a.rows[0], a.rows[1]}, share.kv_head, 0, 0, 0, channels_of(a.format[0])};
  NewestRows newest;
  for (int half = 0; half < 2; ++half) {
    KvWindow& window = rows.window[half];
    window.begin(step, a.window_state);
    if (keeps(a.split, step, share, place)) newest.at[half] = window.slot(place, share.kv_head);
    if (a.split.k != nullptr) window.split = place + 1;  // or will be there
  }
  wait_previous();
  if (at.split >= share.n_splits) return;
  __syncthreads();
  prepare(s, a.split, heads, a.split.q + share.row * kDim, share.heads, share.kv_head,
          newest.present());
  __syncthreads();
  if (newest.present()) {  // every chunk of heads writes the same
    newest.keep(s);
    __syncthreads();
  }
  const int sealed_begin = attr.tiles.sinks, sealed_end = sealed_before(place, attr.tiles.recent);
  const auto sealed = [&](int key) { return key >= sealed_begin && key < sealed_end; };
  HeadSums<kDim> sums;
  sums.load(s.q[0], kHeads, rows.channel);
  for (int first = share.begin + kKeyBatch * (threadIdx.x / 32); first < share.end;
       first += kKeyBatch * kThreads / 32) {
    const int last = min(first + kKeyBatch, share.end) - 1;
    if (first < sealed_end && last >= sealed_begin)
      take_tiles(sums, tiles, first, [&](int key) { return key <= last && sealed(key); });
    if (!sealed(first) || !sealed(last)) {
      rows.begin(first, last);
      take_rows(sums, rows, [&](int key) { return first + key <= last && !sealed(first + key); });
    }
  }
  merge_shares<WindowBatch<kDim>::kByEight>(
      s, a.split, sums, share, a.split.counters + at.token * a.split.n_blocks() + at.heads);
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
  split.n_splits = attention_splits(launch.caps, split.n_blocks());
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
    return start(launch, kernel, split_grid(split, q.rows(), launch), kThreads, 0, args,
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
