// x of a matvec in shared memory: in f32, or in 8 bits with a scale and sums for every 32 values.
#pragma once
#include "backends/cuda/kernels/matvec.cuh"
#include "backends/cuda/kernels/row_part.cuh"

namespace runnel::cuda {

/// f32 values of `tokens` rows. Value i of a row is at place(i): neighbouring threads that read 8
/// values each then touch different banks.
template <int kTokens>
struct FloatX {
  float* values;
  int stride;  // of a row: k rounded up to 8

  __device__ FloatX(std::byte* shared, int k)
      : values(reinterpret_cast<float*>(shared)), stride((k + 7) / 8 * 8) {}
  static constexpr std::size_t bytes(int k) { return std::size_t(kTokens) * ((k + 7) / 8 * 8) * 4; }
  __device__ int place(int i) const { return (i / 4 % 2) * (stride / 2) + i / 8 * 4 + i % 4; }
  /// Values 4 q .. 4 q + 3 of row t.
  __device__ float4 four(int t, int q) const {
    return *reinterpret_cast<const float4*>(values + t * stride + (q % 2) * (stride / 2) +
                                            q / 2 * 4);
  }
  __device__ float one(int t, int i) const { return values[t * stride + place(i)]; }

  template <int kParts>
  __device__ void store(int t, int k, const RowPart<kParts>& row) {
#pragma unroll
    for (int c = 0; c < kParts; ++c) {
      const int q = c * kMatvecThreads + threadIdx.x;
      if (q < stride / 4)  // zeros past the end
        *reinterpret_cast<float4*>(values + t * stride + (q % 2) * (stride / 2) + q / 2 * 4) =
            row.part[c];
    }
  }
  /// Rows of any length.
  __device__ void store(int t, int k, const float* x, const float* gains) {
    for (int i = threadIdx.x; i < stride; i += kMatvecThreads) {
      float value = i < k ? x[i] : 0.0f;
      if (gains != nullptr && i < k) value *= gains[i];
      values[t * stride + place(i)] = value;
    }
  }
};

/// A unit of x: value = scale * byte.
struct XUnit {
  uint4 first, last;
  float2 sums;  // of the bytes of each half
  float scale;
};

/// Bytes of `tokens` rows: value = scale * byte. The first 16 bytes of all units of a row, then the
/// last 16; then sums of the halves, then scales.
template <int kTokens>
struct ByteX {
  /// A unit's values no larger than this are zeros.
  static constexpr float kLeastValue = 1e-30f;
  /// Bytes between first and last halves: lanes that read both halves of units touch all banks.
  static constexpr int kApart = 64;
  std::byte* base;
  int units;

  __device__ ByteX(std::byte* shared, int k) : base(shared), units(k / kUnit) {}
  /// Bytes of a row, a multiple of 16.
  __host__ __device__ static constexpr int row_bytes(int units) {
    return (units * (kUnit + 12) + kApart + 15) / 16 * 16;
  }
  static constexpr std::size_t bytes(int k) { return std::size_t(kTokens) * row_bytes(k / kUnit); }
  __device__ std::byte* row_at(int t) const { return base + t * row_bytes(units); }
  __device__ int half_place(int unit, int h) const { return (h * units + unit) * 16 + h * kApart; }
  __device__ uint4 half(int t, int unit, int h) const {
    return *reinterpret_cast<const uint4*>(row_at(t) + half_place(unit, h));
  }
  __device__ XUnit unit(int t, int u) const {
    return {half(t, u, 0), half(t, u, 1), reinterpret_cast<const float2*>(sums(t))[u],
            scales(t)[u]};
  }
  __device__ float* sums(int t) const {
    return reinterpret_cast<float*>(row_at(t) + units * kUnit + kApart);
  }
  __device__ float* scales(int t) const { return sums(t) + 2 * units; }

  template <int kParts>
  __device__ void store(int t, int k, const RowPart<kParts>& row) {
    if (kParts > 1 && (kParts - 1) * kMatvecThreads >= k / 4) {
#pragma unroll
      for (int c = 0; c < kParts; ++c)
        if (c * kMatvecThreads < k / 4)
          store_fours(t, k, c * kMatvecThreads + threadIdx.x, RowPart<1>{{row.part[c]}});
    } else {
      store_fours(t, k, threadIdx.x, row);
    }
  }
  /// Rows of any length.
  __device__ void store(int t, int k, const float* x, const float* gains) {
    for (int first = 0; first < k / 4; first += kMatvecThreads) {
      const int q = first + threadIdx.x;
      float4 v = q < k / 4 ? reinterpret_cast<const float4*>(x)[q] : float4{};
      if (gains != nullptr && q < k / 4)
        v = RowPart<1>::product(v, reinterpret_cast<const float4*>(gains)[q]);
      store_fours(t, k, q, RowPart<1>{{v}});
    }
  }

  /// Values 4 q .. 4 q + 3 and so on; eight threads share a unit.
  template <int kParts>
  __device__ void store_fours(int t, int k, int first, const RowPart<kParts>& row) {
    float most[kParts];
    std::uint32_t bytes[kParts];
    int sum[kParts];
#pragma unroll
    for (int c = 0; c < kParts; ++c) {
      const float4& v = row.part[c];
      most[c] = fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
    }
#pragma unroll
    for (int i = 1; i < 8; i *= 2)
#pragma unroll
      for (int c = 0; c < kParts; ++c)
        most[c] = fmaxf(most[c], __shfl_xor_sync(kAllLanes, most[c], i));
#pragma unroll
    for (int c = 0; c < kParts; ++c) {
      const float inverse = most[c] > kLeastValue ? __fdividef(127.0f, most[c]) : 0.0f;
      bytes[c] = four_bytes(row.part[c], inverse);
      sum[c] = __dp4a(static_cast<int>(bytes[c]), 0x01010101, 0);
    }
#pragma unroll
    for (int i = 1; i < 4; i *= 2)
#pragma unroll
      for (int c = 0; c < kParts; ++c) sum[c] += __shfl_xor_sync(kAllLanes, sum[c], i);
#pragma unroll
    for (int c = 0; c < kParts; ++c) {
      const int q = first + c * kMatvecThreads;
      if (q >= k / 4) return;
      const int unit = q / 8, part = q % 8;
      reinterpret_cast<std::uint32_t*>(row_at(t) + half_place(unit, part / 4))[part % 4] = bytes[c];
      if (part % 4 == 0) sums(t)[2 * unit + part / 4] = static_cast<float>(sum[c]);
      if (part == 0) scales(t)[unit] = most[c] * (1.0f / 127.0f);
    }
  }
  /// Whole numbers of at most 127 as bytes: the sum with 1.5 * 2^23 has them in its lowest bits.
  static __device__ std::uint32_t four_bytes(const float4& v, float inverse) {
    const auto byte = [&](float x) { return __float_as_uint(fmaf(x, inverse, 12582912.0f)); };
    return __byte_perm(__byte_perm(byte(v.x), byte(v.y), 0x0040),
                       __byte_perm(byte(v.z), byte(v.w), 0x0040), 0x5410);
  }
};

/// What rms_norm multiplies each row of x by, but for its gains.
template <int kTokens>
struct RowScales {
  float of[kTokens];
};

/// Brings a block's rows of x into shared memory, times `gains` where they are normalised: the rest
/// of the norm is for the sums, so that nothing waits for it. `gains`: loaded already where rows
/// fit registers.
template <class X, int kTokens, int kParts>
__device__ RowScales<kTokens> load_x(
    X& to, const MatvecArgs& a, const RowPart<kParts>& gains, int first_row, int n_rows) {
  __shared__ float4 squares[kTokens][kMatvecThreads / 128];  // of each warp
  const bool norm = a.norm != nullptr, short_rows = fits_registers(a.k);
  for (int t = 0; t < kTokens && first_row + t < n_rows; ++t) {
    const int row = a.expert_ids != nullptr ? (first_row + t) / a.rows_per_x : first_row + t;
    const float* x = a.x + std::int64_t{row} * a.k;
    float sum = 0;
    if (short_rows) {
      RowPart<kParts> part;
      part.load(x, a.k);
      if (norm) {
        sum = part.squares();
        part.multiply(gains);
      }
      to.store(t, a.k, part);
    } else {
      for (int i = threadIdx.x; norm && i < a.k; i += kMatvecThreads) sum += x[i] * x[i];
      sum = warp_sum(sum);
      to.store(t, a.k, x, a.norm);
    }
    if (threadIdx.x % 32 == 0) reinterpret_cast<float*>(squares[t])[threadIdx.x / 32] = sum;
  }
  __syncthreads();
  RowScales<kTokens> scales;
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    float sum = 0;
#pragma unroll
    for (const float4& v : squares[t]) sum += (v.x + v.y) + (v.z + v.w);
    scales.of[t] = norm ? rsqrtf(sum * (1.0f / static_cast<float>(a.k)) + a.eps) : 1.0f;
  }
  return scales;
}

}  // namespace runnel::cuda
