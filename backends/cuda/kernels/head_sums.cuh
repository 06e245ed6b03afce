// Attention of few tokens on the tensor cores: a warp multiplies up to eight query heads of one KV
// head with batches of 32 keys. Queries and softmax weights are sums of two f16 values, in rows g
// and g + 8 of a product, so that little is lost against f32.
// SOURCE: Milakov and Gimelshein, arXiv:1805.02867, for the running maximum.
#pragma once
#include "backends/cuda/kernels/mma.cuh"
#include "backends/cuda/kernels/tile_codes.cuh"

namespace runnel::cuda {

/// Two values as f16, and what they lose by it.
__device__ inline void two_parts(float x, float y, std::uint32_t& high, std::uint32_t& low) {
  const __half2 top = __floats2half2_rn(x, y);
  const float2 back = __half22float2(top);
  const __half2 rest = __floats2half2_rn(x - back.x, y - back.y);
  high = reinterpret_cast<const std::uint32_t&>(top);
  low = reinterpret_cast<const std::uint32_t&>(rest);
}
__device__ inline float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, 1));
  return fmaxf(x, __shfl_xor_sync(kAllLanes, x, 2));
}

template <int kDim>
struct HeadSums {
  static constexpr int kParts = kDim / kPart;
  std::uint32_t q[kParts][4][4];
  float sums[kParts][4][2][4] = {};   // [part][16 channels][channel % 2]: of values / unit
  float most = -INFINITY, total = 0;  // of head g; total: this lane's keys
  float unit = 1.0f / 16384;          // a power of two, the largest scale of values so far
  float weight[8];                    // of this lane's keys of the batch

  /// Head g = row g of `rows` ([n][kDim]).
  __device__ void load(const float* rows, int n, KeyChannels channel) {
    const int g = threadIdx.x % 32 / 4, c = threadIdx.x % 4;
#pragma unroll
    for (int part = 0; part < kParts; ++part)
#pragma unroll
      for (int m = 0; m < 4; ++m) {
        float x[4] = {};
        if (g < n)
          for (int i = 0; i < 4; ++i) x[i] = rows[g * kDim + part * kPart + channel(m, c) + i];
        two_parts(x[0], x[1], q[part][m][0], q[part][m][1]);
        two_parts(x[2], x[3], q[part][m][2], q[part][m][3]);
      }
  }

  /// Adds what one token of each lane gives: b[m] as Codes::keys() leaves it.
  __device__ void multiply_key(int part, const std::uint32_t (&b)[4][2], float (&scores)[4]) const {
#pragma unroll
    for (int m = 0; m < 4; ++m) multiply(scores, q[part][m], b[m][0], b[m][1]);
  }

  /// Scores of this lane's eight keys become weights; `largest`: power of two not below half of any
  /// scale of values in the batch, the same in the four lanes of a head.
  __device__ void soften(const float (&score)[8], float largest) {
    float top = score[0];
#pragma unroll
    for (int i = 1; i < 8; ++i) top = fmaxf(top, score[i]);
    top = fmaxf(most, quad_max(top));
    const float shrink = most == -INFINITY ? 0.0f : __expf(most - top);
    const float units = fmaxf(unit, largest), change = shrink * unit * __frcp_rn(units);
    total *= shrink;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      weight[i] = score[i] == -INFINITY ? 0.0f : __expf(score[i] - top);
      total += weight[i];
    }
    most = top;
    unit = units;
    for (auto& part : sums)
      for (auto& block : part)
        for (auto& parity : block)
          for (float& x : parity) x *= change;
  }

  /// What weighs values of one part: scale[i] of the lane's keys. a[n]: keys 4 n to 4 n + 3.
  __device__ void weigh(const float (&scale)[8], std::uint32_t (&a)[2][4]) const {
    const float inverse = __frcp_rn(unit);
    float w[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) w[i] = weight[i] == 0.0f ? 0.0f : weight[i] * (scale[i] * inverse);
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      two_parts(w[4 * n], w[4 * n + 1], a[n][0], a[n][1]);
      two_parts(w[4 * n + 2], w[4 * n + 3], a[n][2], a[n][3]);
    }
  }

  /// b[j][n] as Codes::values() leaves it, of channels 16 j + 2 g + parity (8 g + 2 j + parity
  /// where rows are read 8 channels at a time: kByEight of finish()).
  __device__ void add_values(int part,
                             int parity,
                             const std::uint32_t (&a)[2][4],
                             const std::uint32_t (&b)[4][2][2]) {
#pragma unroll
    for (int j = 0; j < 4; ++j)
#pragma unroll
      for (int n = 0; n < 2; ++n) multiply(sums[part][j][parity], a[n], b[j][n][0], b[j][n][1]);
  }

  /// put(channel, value) of head g; `total` becomes that of all its keys.
  template <bool kByEight, class Put>
  __device__ void finish(Put put) {
    total += __shfl_xor_sync(kAllLanes, total, 1);
    total += __shfl_xor_sync(kAllLanes, total, 2);
    const int c = threadIdx.x % 4;
#pragma unroll
    for (int part = 0; part < kParts; ++part)
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float(&x)[4] = sums[part][j][i % 2];
          const int channel = kByEight ? 8 * (2 * c + i / 2) + 2 * j + i % 2 : 16 * j + 4 * c + i;
          put(part * kPart + channel, (x[i / 2] + x[2 + i / 2]) * unit);
        }
  }
};

/// Of products of four tokens with queries: scores of this lane's eight keys.
__device__ inline float score_of(const float (&products)[4][4], int i) {
  return products[i % 4][i / 4] + products[i % 4][2 + i / 4];
}

}  // namespace runnel::cuda
