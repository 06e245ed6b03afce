// attention of many tokens over f16 pages on the tensor cores: a block takes 64 tokens of one head,
// a warp 16 of them, and walks over the pages of 64 keys.
#include "backends/cuda/kernels/attention_mma.cuh"

namespace runnel::cuda {
namespace {

struct MmaArgs {
  const float* q;
  float* out;
  int k_state, v_state;
  AttentionAttr attr;
};

/// The 64 rows of one head in a page to shared memory.
template <int kDim>
__device__ void copy_page(__half* to, std::byte* const* pages, int page, int head) {
  const __half* from = page_row<__half>(pages, page * kPage, head, kDim);
  for (int i = threadIdx.x; i < kPage * (kDim / 8); i += kThreads) {
    const int row = i / (kDim / 8), part = i % (kDim / 8);
    copy_16(to + row * (kDim + 8) + part * 8, from + row * kDim + part * 8);
  }
}

template <int kDim>
__global__ void __launch_bounds__(kThreads) mma_kernel(MmaArgs a, const StepData* step) {
  extern __shared__ uint4 shared[];
  constexpr int kTileElems = kPage * (kDim + 8);
  __half* const tiles = reinterpret_cast<__half*>(shared);  // [2][K, V]
  begin_step();
  const int n_tokens = step->n_tokens, first = static_cast<int>(blockIdx.x) * kRows;
  if (first >= n_tokens) return;
  const int head = blockIdx.y, kv_head = head / (a.attr.n_heads / a.attr.n_kv_heads);
  const int pos = kv_position(step), lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  std::byte* const* k_pages = pages_of(step, a.k_state);
  std::byte* const* v_pages = pages_of(step, a.v_state);
  const int stride = a.attr.n_heads * kDim;
  Queries<kDim> q;
  q.load(a.q + head * kDim, stride, first + warp * 16, n_tokens, a.attr.scale * 1.44269504f);
  const int window = max(0, a.attr.window);
  const int begin = window > 0 ? max(0, pos + first - window + 1) / kPage : 0;
  const int end = (pos + min(first + kRows, n_tokens) - 1) / kPage + 1;
  const auto fetch = [&](int page) {
    __half* to = tiles + page % 2 * 2 * kTileElems;
    copy_page<kDim>(to, k_pages, page, kv_head);
    copy_page<kDim>(to + kTileElems, v_pages, page, kv_head);
    commit_copies();
  };
  TwoRows rows;
  float sums[kDim / 8][4] = {};
  fetch(begin);
  for (int page = begin; page < end; ++page) {
    wait_copies<0>();
    __syncthreads();
    if (page + 1 < end) fetch(page + 1);
    const __half* k = tiles + page % 2 * 2 * kTileElems;
    float s[8][4] = {};
    score<kDim>(q, k, s);
    soften<kDim>(
        s, rows, sums, pos + first + warp * 16 + lane / 4, page * kPage,
        [&](int at, int place) { return at <= place && (window == 0 || at > place - window); });
    add_values<kDim>(s, k + kTileElems, sums);
  }
  write_rows<kDim>(rows, sums, a.out + head * kDim, stride, first + warp * 16, n_tokens);
}

}  // namespace

cudaError_t attention_mma(const Step& step, const Launch& launch) {
  const Operand& q = step.in[0];
  const MmaArgs args{q.f32(), step.out[0].f32(), step.in[1].state_index, step.in[2].state_index,
                     step.attr_as<AttentionAttr>()};
  const int dim = args.attr.head_dim;
  const auto run = [&](auto kernel) {
    return start(launch, kernel, grid_of(ceil_div(q.rows(), kRows), args.attr.n_heads), kThreads,
                 static_cast<std::size_t>(4 * kPage * (dim + 8)) * sizeof(__half), args,
                 launch.step);
  };
  return dim == 64 ? run(mma_kernel<64>) : run(mma_kernel<128>);
}

}  // namespace runnel::cuda
