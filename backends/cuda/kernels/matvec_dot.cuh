// Dot products of one row of a matrix with the rows of x in shared memory, over the lanes that
// share the row: lane `sub` of `lanes` takes units sub, sub + lanes, ... in this order, whatever
// the number of tokens. Four units are loaded before the first is used, to keep enough bytes under
// way.
#pragma once
#include "backends/cuda/kernels/matvec_plain.cuh"

namespace runnel::cuda {

/// Units loaded at once: as many as registers hold.
template <class Raw>
constexpr int kBatch = sizeof(Raw) <= 24 ? 4 : 2;

template <int kTokens>
__device__ void add_unit(const Unit& w, const ByteX<kTokens>& x, int unit, float (&sum)[kTokens]) {
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    const uint4 a = x.half(t, unit, 0), b = x.half(t, unit, 1);
    int first = __dp4a(w.code[0], static_cast<int>(a.x), 0);
    first = __dp4a(w.code[1], static_cast<int>(a.y), first);
    first = __dp4a(w.code[2], static_cast<int>(a.z), first);
    first = __dp4a(w.code[3], static_cast<int>(a.w), first);
    int last = __dp4a(w.code[4], static_cast<int>(b.x), 0);
    last = __dp4a(w.code[5], static_cast<int>(b.y), last);
    last = __dp4a(w.code[6], static_cast<int>(b.z), last);
    last = __dp4a(w.code[7], static_cast<int>(b.w), last);
    const float2 sums = reinterpret_cast<const float2*>(x.sums(t))[unit];
    float dot = __fmul_rn(w.m[1], sums.y);
    dot = fmaf(w.m[0], sums.x, dot);
    dot = fmaf(w.d[1], static_cast<float>(last), dot);
    dot = fmaf(w.d[0], static_cast<float>(first), dot);
    sum[t] = fmaf(x.scales(t)[unit], dot, sum[t]);
  }
}

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
      if (u + b * lanes < x.units) add_unit(Format::decode(raw[b]), x, u + b * lanes, sum);
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
