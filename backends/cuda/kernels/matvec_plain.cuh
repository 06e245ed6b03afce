// Dot products of rows of weights with x in f32; see matvec_dot.cuh.
#pragma once
#include <cuda_bf16.h>

#include "backends/cuda/formats/formats.cuh"
#include "backends/cuda/kernels/matvec_x.cuh"

namespace runnel::cuda {

__device__ inline float2 two(std::uint32_t bits, __half) {
  return unit::halves(bits);
}
__device__ inline float2 two(std::uint32_t bits, __nv_bfloat16) {
  return {__uint_as_float(bits << 16), __uint_as_float(bits & 0xFFFF0000u)};
}
__device__ inline float as_float(float x) {
  return x;
}
__device__ inline float as_float(__half x) {
  return __half2float(x);
}
__device__ inline float as_float(__nv_bfloat16 x) {
  return __bfloat162float(x);
}

/// Four values of w with values 4 q .. 4 q + 3 of x.
template <int kTokens>
__device__ void add_four(const float4& w, const FloatX<kTokens>& x, int q, float (&sum)[kTokens]) {
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    const float4 v = x.four(t, q);
    sum[t] = fmaf(w.x, v.x, sum[t]);
    sum[t] = fmaf(w.y, v.y, sum[t]);
    sum[t] = fmaf(w.z, v.z, sum[t]);
    sum[t] = fmaf(w.w, v.w, sum[t]);
  }
}

template <class T, int kTokens>
__device__ void add_raw(const uint4& raw, const FloatX<kTokens>& x, int u, float (&sum)[kTokens]) {
  if constexpr (sizeof(T) == 4) {
    add_four({__uint_as_float(raw.x), __uint_as_float(raw.y), __uint_as_float(raw.z),
              __uint_as_float(raw.w)},
             x, u, sum);
  } else {
    const float2 a = two(raw.x, T{}), b = two(raw.y, T{}), c = two(raw.z, T{}), d = two(raw.w, T{});
    add_four({a.x, a.y, b.x, b.y}, x, 2 * u, sum);
    add_four({c.x, c.y, d.x, d.y}, x, 2 * u + 1, sum);
  }
}

/// 16 bytes of w with as many values of x, in the same order.
template <class T>
__device__ void add_raw_held(const uint4& raw,
                             const float4& first,
                             const float4& last,
                             float& sum) {
  const float2 a = two(raw.x, T{}), b = two(raw.y, T{}), c = two(raw.z, T{}), d = two(raw.w, T{});
  sum = fmaf(a.x, first.x, sum);
  sum = fmaf(a.y, first.y, sum);
  sum = fmaf(b.x, first.z, sum);
  sum = fmaf(b.y, first.w, sum);
  sum = fmaf(c.x, last.x, sum);
  sum = fmaf(c.y, last.y, sum);
  sum = fmaf(d.x, last.z, sum);
  sum = fmaf(d.y, last.w, sum);
}

template <class T, int kTokens>
__device__ void dot_plain(const std::uint8_t* data,
                          std::int64_t row,
                          int k,
                          const FloatX<kTokens>& x,
                          int sub,
                          int lanes,
                          float (&sum)[kTokens]) {
  constexpr int kBatch = kTokens == 1 ? 8 : 4;
  constexpr int kValues = 16 / sizeof(T);  // of a load
  const T* w = reinterpret_cast<const T*>(data) + row * k;
  if (k % kValues != 0) {  // rows are not aligned
    for (int i = sub; i < k; i += lanes)
#pragma unroll
      for (int t = 0; t < kTokens; ++t) sum[t] = fmaf(as_float(w[i]), x.one(t, i), sum[t]);
    return;
  }
  const auto* loads = reinterpret_cast<const uint4*>(w);
  int u = sub;
  for (; u + (kBatch - 1) * lanes < k / kValues; u += kBatch * lanes) {
    uint4 raw[kBatch];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) raw[b] = __ldg(loads + u + b * lanes);
#pragma unroll
    for (int b = 0; b < kBatch; ++b) add_raw<T>(raw[b], x, u + b * lanes, sum);
  }
  for (; u < k / kValues; u += lanes) add_raw<T>(__ldg(loads + u), x, u, sum);
}

/// A packed type with x in f32.
template <class Format, int kTokens>
__device__ void dot_decoded(const Planes& planes,
                            std::int64_t row,
                            int units,
                            const FloatX<kTokens>& x,
                            int sub,
                            int lanes,
                            float (&sum)[kTokens]) {
  for (int u = sub; u < units; u += lanes) {
    const Unit w = Format::decode(Format::load(planes, row * units + u));
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      const float d = w.d[k / 4], m = w.m[k / 4];
      const auto value = [&](int i) {
        return fmaf(d, static_cast<float>(static_cast<std::int8_t>(w.code[k] >> (8 * i))), m);
      };
      add_four({value(0), value(1), value(2), value(3)}, x, 8 * u + k, sum);
    }
  }
}

}  // namespace runnel::cuda
