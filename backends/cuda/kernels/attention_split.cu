// attention of few tokens over f16 pages: bound by reading keys and values once. The keys are cut
// into as many splits as fill the device; a block takes up to 4 query heads of one KV head and one
// split, a warp 32 keys at a time. The last block of a (token, heads) to finish merges the splits
// in their order. Splits depend on the number of keys alone.
#include "backends/cuda/kernels/attention_split_body.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 256;

template <int kDim>
__global__ void __launch_bounds__(kThreads, kDim == 64 ? 2 : 1)
    split_kernel(const __grid_constant__ SplitArgs a, const StepData* step) {
  __shared__ Shared<kDim, kThreads> s;
  const SplitBlock at(a);
  allow_next();
  if (at.idle(a) || at.token >= step->n_tokens) return wait_previous();
  make_table(s, a.q_work, step->pos + at.token);
  const PageTask<kDim> task(a, step, at.token, at.split, at.heads);
  wait_previous();
  attend(s, a, task, a.counters + at.token * a.n_blocks() + at.heads);
}

SplitArgs cut(SplitArgs args, const Caps& caps) {
  const int group = args.attr.n_heads / args.attr.n_kv_heads;
  args.chunks = (group + kHeads - 1) / kHeads;
  args.n_splits = attention_splits(caps, args.n_blocks());
  return args;
}

}  // namespace

cudaError_t launch_attention_split(const SplitArgs& given, int max_tokens, const Launch& launch) {
  const SplitArgs args = cut(given, launch.caps);
  const auto run = [&](auto kernel) {
    return start(launch, kernel, split_grid(args, max_tokens, launch), kThreads, 0, args,
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

void take_head_work(SplitArgs& args, const Step& step) {
  args.k = step.in[1].f32();
  args.v = step.in[2].f32();
  args.q_work = {step.extra[0].f32(),  step.rope.eps,   step.device_constants, step.extra[2].f32(),
                 step.rope.rotary_dim, step.rope.style, step.turns[0]};
  args.k_work = args.q_work;
  args.k_work.norm = step.extra[1].f32();
  args.k_work.turn = step.turns[1];
  args.v_work.turn = step.turns[2];
  args.out_turn = step.turns[3];
}

SplitArgs attention_step_args(const Step& step, const Caps& caps) {
  SplitArgs args{};
  args.q = step.in[0].f32();
  args.out = step.out[0].f32();
  args.partial = reinterpret_cast<float*>(step.scratch);
  args.counters = step.counters;
  args.k_state = step.in[3].state_index;
  args.v_state = step.in[4].state_index;
  args.attr = step.attr_as<AttentionAttr>();
  take_head_work(args, step);
  return cut(args, caps);
}

cudaError_t attention_step(const Step& step, const Launch& launch) {
  return launch_attention_split(attention_step_args(step, launch.caps), 1, launch);
}

}  // namespace runnel::cuda
