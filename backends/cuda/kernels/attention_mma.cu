// attention of many tokens over f16 pages on the tensor cores: a block takes 64 tokens of one head,
// a warp 16 of them, and walks over the pages of 64 keys. Queries and softmax weights are sums of
// two f16 values, so that results are as good as in f32. A row's result does not depend on which
// rows it shares a block with: masked keys weigh nothing.
#include "backends/cuda/kernels/kv_rows.cuh"
#include "backends/cuda/kernels/mma.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kRows = 64;  // tokens of a block

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

/// x as the sum of two pairs of f16 values.
__device__ void split(float x, float y, std::uint32_t& high, std::uint32_t& low) {
  const __half2 h = __floats2half2_rn(x, y);
  const float2 back = __half22float2(h);
  const __half2 l = __floats2half2_rn(x - back.x, y - back.y);
  high = *reinterpret_cast<const std::uint32_t*>(&h);
  low = *reinterpret_cast<const std::uint32_t*>(&l);
}

/// A warp's 16 queries, as operands.
template <int kDim>
struct Queries {
  std::uint32_t high[kDim / 16][4], low[kDim / 16][4];

  __device__ void load(const float* q, int stride, int first, int n_tokens, float scale) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int d = 0; d < kDim / 16; ++d)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = first + lane / 4 + i % 2 * 8, col = d * 16 + lane % 4 * 2 + i / 2 * 8;
        float2 v{};
        if (row < n_tokens)
          v = *reinterpret_cast<const float2*>(q + std::int64_t{row} * stride + col);
        split(v.x * scale, v.y * scale, high[d][i], low[d][i]);
      }
  }
};

/// Scores of 16 rows with 64 keys.
template <int kDim>
__device__ void score(const Queries<kDim>& q, const __half* k, float (&s)[8][4]) {
  const int lane = threadIdx.x % 32;
  const __half* row = k + (lane % 8 + lane / 16 * 8) * (kDim + 8) + lane / 8 % 2 * 8;
#pragma unroll
  for (int j = 0; j < 4; ++j)
#pragma unroll
    for (int d = 0; d < kDim / 16; ++d) {
      std::uint32_t b[4];
      load_matrices(b, row + j * 16 * (kDim + 8) + d * 16);
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        multiply(s[2 * j + h], q.low[d], b[2 * h], b[2 * h + 1]);
        multiply(s[2 * j + h], q.high[d], b[2 * h], b[2 * h + 1]);
      }
    }
}

/// sums += weights * values, of 64 keys.
template <int kDim>
__device__ void add_values(const float (&p)[8][4], const __half* v, float (&sums)[kDim / 8][4]) {
  const int lane = threadIdx.x % 32;
  const __half* row = v + lane % 16 * (kDim + 8) + lane / 16 * 8;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    std::uint32_t high[4], low[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float* pair = &p[2 * j + i / 2][i % 2 * 2];
      split(pair[0], pair[1], high[i], low[i]);
    }
#pragma unroll
    for (int d = 0; d < kDim / 16; ++d) {
      std::uint32_t b[4];
      load_transposed(b, row + j * 16 * (kDim + 8) + d * 16);
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        multiply(sums[2 * d + h], low, b[2 * h], b[2 * h + 1]);
        multiply(sums[2 * d + h], high, b[2 * h], b[2 * h + 1]);
      }
    }
  }
}

/// Maximum and sum of a lane's two rows.
struct TwoRows {
  float most[2] = {-INFINITY, -INFINITY}, sum[2] = {};
};

/// Scores to weights; `place`: of the lane's first row, whose second is 8 later.
template <int kDim>
__device__ void soften(
    float (&s)[8][4], TwoRows& rows, float (&sums)[kDim / 8][4], int place, int key, int window) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int last = place + 8 * r, first = window > 0 ? last - window + 1 : 0;
    float most = rows.most[r];
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int at = key + j * 8 + lane % 4 * 2 + e;
        float& value = s[j][2 * r + e];
        if (at > last || at < first) value = -INFINITY;
        most = fmaxf(most, value);
      }
    most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, 1));
    most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, 2));
    const float base = most == -INFINITY ? 0.0f : most;
    const float shrink = exp2f(rows.most[r] - base);
    float sum = 0;
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& value = s[j][2 * r + e];
        value = exp2f(value - base);
        sum += value;
      }
    rows.most[r] = most;
    rows.sum[r] = rows.sum[r] * shrink + sum;
#pragma unroll
    for (int d = 0; d < kDim / 8; ++d) {
      sums[d][2 * r] *= shrink;
      sums[d][2 * r + 1] *= shrink;
    }
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
  const int window = a.attr.window;
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
    soften<kDim>(s, rows, sums, pos + first + warp * 16 + lane / 4, page * kPage, window);
    add_values<kDim>(s, k + kTileElems, sums);
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float sum = rows.sum[r];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    const int t = first + warp * 16 + lane / 4 + 8 * r;
    if (t >= n_tokens) continue;
    float* out = a.out + std::int64_t{t} * stride + head * kDim + lane % 4 * 2;
#pragma unroll
    for (int d = 0; d < kDim / 8; ++d) {
      out[d * 8] = sums[d][2 * r] / sum;
      out[d * 8 + 1] = sums[d][2 * r + 1] / sum;
    }
  }
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
