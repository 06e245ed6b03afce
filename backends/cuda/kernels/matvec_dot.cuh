// Dot products of one row of a matrix with the rows of x in shared memory, over the lanes that
// share the row: lane `sub` of `lanes` takes units sub, sub + lanes, ... in this order, whatever
// the number of tokens. Four units are loaded before the first is used, to keep enough bytes under
// way.
#pragma once
#include "backends/cuda/kernels/matvec_plain.cuh"
#include "backends/cuda/kernels/matvec_unit.cuh"

namespace runnel::cuda {

/// Units loaded at once: as many as registers hold.
template <class Raw>
constexpr int kBatch = sizeof(Raw) <= 24 ? 4 : 2;

template <class Format, int kTokens>
__device__ void dot_packed(const Planes& planes,
                           std::int64_t row,
                           const ByteX<kTokens>& x,
                           int sub,
                           int lanes,
                           float (&sum)[kTokens]) {
  constexpr int kBatch = cuda::kBatch<typename Format::Raw>;
  const std::int64_t first = row * x.units;
  for (int u = sub; u < x.units; u += kBatch * lanes) {
    typename Format::Raw raw[kBatch];
#pragma unroll
    for (int b = 0; b < kBatch; ++b)
      if (u + b * lanes < x.units) raw[b] = Format::load(planes, first + u + b * lanes);
#pragma unroll
    for (int b = 0; b < kBatch; ++b)
      if (u + b * lanes < x.units)
        for (int t = 0; t < kTokens; ++t)
          add_unit<Format>(raw[b], x.unit(t, u + b * lanes), sum[t]);
  }
}

/// q8_0: lanes take halves of units, 16 bytes of weights each.
template <int kTokens>
__device__ void dot_halves(const Planes& planes,
                           std::int64_t row,
                           const ByteX<kTokens>& x,
                           int sub,
                           int lanes,
                           float (&sum)[kTokens]) {
  constexpr int kBatch = 4;
  const int halves = 2 * x.units;
  const std::int64_t first = row * halves;
  for (int u = sub; u < halves; u += kBatch * lanes) {
    uint4 codes[kBatch];
    __half scale[kBatch];
#pragma unroll
    for (int b = 0; b < kBatch; ++b)
      if (const int at = u + b * lanes; at < halves) {
        codes[b] = planes.load<uint4>(0, first + at);
        scale[b] = planes.load<__half>(2, (first + at) / 2);
      }
#pragma unroll
    for (int b = 0; b < kBatch; ++b)
      if (const int at = u + b * lanes; at < halves)
        for (int t = 0; t < kTokens; ++t)
          add_half(codes[b], __half2float(scale[b]), x.half(t, at / 2, at % 2), x.scales(t)[at / 2],
                   sum[t]);
  }
}

/// What a kernel is made for: the form of x, and the dot product.
template <class Format>
struct Weights {
  template <int kTokens>
  using X = ByteX<kTokens>;
  template <int kTokens>
  static __device__ void dot(const Planes& planes,
                             std::int64_t row,
                             int,
                             const ByteX<kTokens>& x,
                             int sub,
                             int lanes,
                             float (&sum)[kTokens]) {
    dot_packed<Format>(planes, row, x, sub, lanes, sum);
  }
};

template <>
struct Weights<Q8_0> {
  template <int kTokens>
  using X = ByteX<kTokens>;
  template <int kTokens>
  static __device__ void dot(const Planes& planes,
                             std::int64_t row,
                             int,
                             const ByteX<kTokens>& x,
                             int sub,
                             int lanes,
                             float (&sum)[kTokens]) {
    dot_halves(planes, row, x, sub, lanes, sum);
  }
};

template <>
struct Weights<Nvfp4> {
  template <int kTokens>
  using X = FloatX<kTokens>;
  template <int kTokens>
  static __device__ void dot(const Planes& planes,
                             std::int64_t row,
                             int k,
                             const FloatX<kTokens>& x,
                             int sub,
                             int lanes,
                             float (&sum)[kTokens]) {
    dot_decoded<Nvfp4>(planes, row, k / kUnit, x, sub, lanes, sum);
  }
};

template <class T>
struct PlainWeights {
  template <int kTokens>
  using X = FloatX<kTokens>;
  template <int kTokens>
  static __device__ void dot(const Planes& planes,
                             std::int64_t row,
                             int k,
                             const FloatX<kTokens>& x,
                             int sub,
                             int lanes,
                             float (&sum)[kTokens]) {
    dot_plain<T>(planes.at[0], row, k, x, sub, lanes, sum);
  }
};
template <>
struct Weights<PlainF32> : PlainWeights<float> {};
template <>
struct Weights<PlainF16> : PlainWeights<__half> {};
template <>
struct Weights<PlainBf16> : PlainWeights<__nv_bfloat16> {};

}  // namespace runnel::cuda
