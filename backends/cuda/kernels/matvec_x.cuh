// x of a matvec in shared memory: in f32, or in 8 bits with a scale and sums for every 32 values.
#pragma once
#include "backends/cuda/kernels/matvec.cuh"

namespace runnel::cuda {

constexpr int kMatvecThreads = 512;

constexpr int kRowParts = 4;
constexpr int kRegisterRow = kRowParts * kMatvecThreads * 4;  // values of a row in registers

/// Each thread's part of a row, four values at a time.
template <int kParts = kRowParts>
struct RowPart {
  float4 part[kParts];

  __device__ void load(const float* x, int k) {
#pragma unroll
    for (int c = 0; c < kParts; ++c) {
      const int q = c * kMatvecThreads + threadIdx.x;
      part[c] = q < k / 4 ? reinterpret_cast<const float4*>(x)[q] : float4{};
    }
  }
};

__device__ inline float4 scaled(const float4& v, float scale, const float4& n) {
  return {v.x * scale * n.x, v.y * scale * n.y, v.z * scale * n.z, v.w * scale * n.w};
}

__host__ __device__ inline bool fits_registers(int k) {
  return k % 4 == 0 && k <= kRegisterRow;
}

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
  __device__ void store(int t, int k, const float* x, const float* norm, float scale) {
    for (int i = threadIdx.x; i < stride; i += kMatvecThreads) {
      float value = i < k ? x[i] : 0.0f;
      if (norm != nullptr && i < k) value = value * scale * norm[i];
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
  std::byte* base;
  int units;

  __device__ ByteX(std::byte* shared, int k) : base(shared), units(k / kUnit) {}
  /// Bytes of a row, a multiple of 16.
  __host__ __device__ static constexpr int row_bytes(int units) {
    return (units * (kUnit + 12) + 15) / 16 * 16;
  }
  static constexpr std::size_t bytes(int k) { return std::size_t(kTokens) * row_bytes(k / kUnit); }
  __device__ std::byte* row(int t) const { return base + t * row_bytes(units); }
  __device__ uint4 half(int t, int unit, int h) const {
    return *reinterpret_cast<const uint4*>(row(t) + (h * units + unit) * 16);
  }
  __device__ XUnit unit(int t, int u) const {
    return {half(t, u, 0), half(t, u, 1), reinterpret_cast<const float2*>(sums(t))[u],
            scales(t)[u]};
  }
  __device__ float* sums(int t) const { return reinterpret_cast<float*>(row(t) + units * kUnit); }
  __device__ float* scales(int t) const { return sums(t) + 2 * units; }

  template <int kParts>
  __device__ void store(int t, int k, const RowPart<kParts>& row) {
#pragma unroll
    for (int c = 0; c < kParts; ++c)
      if (c * kMatvecThreads < k / 4)
        store_four(t, k, c * kMatvecThreads + threadIdx.x, row.part[c]);
  }
  /// Rows of any length.
  __device__ void store(int t, int k, const float* x, const float* norm, float scale) {
    for (int first = 0; first < k / 4; first += kMatvecThreads) {
      const int q = first + threadIdx.x;
      float4 v = q < k / 4 ? reinterpret_cast<const float4*>(x)[q] : float4{};
      if (norm != nullptr && q < k / 4)
        v = scaled(v, scale, reinterpret_cast<const float4*>(norm)[q]);
      store_four(t, k, q, v);
    }
  }

  /// Values 4 q .. 4 q + 3; eight threads share a unit.
  __device__ void store_four(int t, int k, int q, const float4& v) {
    float most = fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
    for (int i = 1; i < 8; i *= 2) most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, i));
    const float inverse = most > 0.0f ? 127.0f / most : 0.0f;
    const char4 c{static_cast<signed char>(__float2int_rn(v.x * inverse)),
                  static_cast<signed char>(__float2int_rn(v.y * inverse)),
                  static_cast<signed char>(__float2int_rn(v.z * inverse)),
                  static_cast<signed char>(__float2int_rn(v.w * inverse))};
    int sum = c.x + c.y + c.z + c.w;
    for (int i = 1; i < 4; i *= 2) sum += __shfl_xor_sync(kAllLanes, sum, i);
    if (q >= k / 4) return;
    const int unit = q / 8, part = q % 8;
    reinterpret_cast<char4*>(row(t) + ((part / 4) * units + unit) * 16)[part % 4] = c;
    if (part % 4 == 0) sums(t)[2 * unit + part / 4] = static_cast<float>(sum);
    if (part == 0) scales(t)[unit] = most / 127.0f;
  }
};

/// rms_norm of a row in registers.
template <int kParts>
__device__ void normalise(RowPart<kParts>& row, const RowPart<kParts>& norm, int k, float eps) {
  float squares = 0;
#pragma unroll
  for (int c = 0; c < kParts; ++c) {
    const float4 v = row.part[c];
    squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  const float sum = block_sum<kMatvecThreads>(squares);
  const float scale = 1.0f / sqrtf(sum / static_cast<float>(k) + eps);
#pragma unroll
  for (int c = 0; c < kParts; ++c) row.part[c] = scaled(row.part[c], scale, norm.part[c]);
}

/// Brings a block's rows of x into shared memory, normalised where asked for. `norm`: its weights,
/// loaded already where rows fit registers.
template <class X, int kTokens, int kParts>
__device__ void load_x(
    X& to, const MatvecArgs& a, const RowPart<kParts>& norm, int first_row, int n_rows) {
  for (int t = 0; t < kTokens && first_row + t < n_rows; ++t) {
    const int row = a.expert_ids != nullptr ? (first_row + t) / a.rows_per_x : first_row + t;
    const float* x = a.x + std::int64_t{row} * a.k;
    if (fits_registers(a.k)) {
      RowPart<kParts> part;
      part.load(x, a.k);
      if (a.norm != nullptr) normalise(part, norm, a.k, a.eps);
      to.store(t, a.k, part);
      continue;
    }
    float scale = 1.0f;
    if (a.norm != nullptr) {
      float squares = 0;
      for (int i = threadIdx.x; i < a.k; i += kMatvecThreads) squares += x[i] * x[i];
      scale = 1.0f / sqrtf(block_sum<kMatvecThreads>(squares) / static_cast<float>(a.k) + a.eps);
    }
    to.store(t, a.k, x, a.norm, scale);
  }
  __syncthreads();
}

}  // namespace runnel::cuda
