// What kernels of attention on the tensor cores share: a warp has 16 rows (tokens of one head) and
// takes 64 keys at a time from shared memory. Queries and softmax weights are sums of two f16
// values, so that results are as good as in f32. Masked keys weigh nothing: a row's result does not
// depend on which rows it shares a block with.
#pragma once
#include "backends/cuda/kernels/kv_rows.cuh"
#include "backends/cuda/kernels/mma.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kRows = 64;  // tokens of a block

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

/// Scores to weights of the keys from `key` on; sees(at, place): whether the row at `place` sees
/// the key at `at`; `place`: of the lane's first row, whose second is 8 later.
template <int kDim, class Sees>
__device__ void soften(
    float (&s)[8][4], TwoRows& rows, float (&sums)[kDim / 8][4], int place, int key, Sees sees) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float most = rows.most[r];
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int at = key + j * 8 + lane % 4 * 2 + e;
        float& value = s[j][2 * r + e];
        if (!sees(at, place + 8 * r)) value = -INFINITY;
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

/// Results of a warp's 16 tokens from `first` on; `head`: its results, `stride` floats a token.
template <int kDim>
__device__ void write_rows(const TwoRows& rows,
                           const float (&sums)[kDim / 8][4],
                           float* head,
                           int stride,
                           int first,
                           int n_tokens) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float sum = rows.sum[r];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    const int t = first + lane / 4 + 8 * r;
    if (t >= n_tokens) continue;
    float* out = head + std::int64_t{t} * stride + lane % 4 * 2;
#pragma unroll
    for (int d = 0; d < kDim / 8; ++d) {
      out[d * 8] = sums[d][2 * r] / sum;
      out[d * 8 + 1] = sums[d][2 * r + 1] / sum;
    }
  }
}

}  // namespace
}  // namespace runnel::cuda
