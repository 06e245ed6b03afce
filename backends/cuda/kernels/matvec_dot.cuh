// Dot products of one row of a matrix with the rows of x in shared memory, over the lanes that
// share the row: lane `sub` of `lanes` takes units sub, sub + lanes, ... in this order, whatever
// the number of tokens. Four units are loaded before the first is used, to keep enough bytes under
// way.
#pragma once
#include <type_traits>

#include "backends/cuda/kernels/matvec_plain.cuh"

namespace runnel::cuda {

/// Units loaded at once: as many as registers hold.
template <class Raw>
constexpr int kBatch = sizeof(Raw) <= 24 ? 4 : 2;

/// Codes are the nibbles of Raw::codes as they are.
template <class Format>
constexpr bool is_nibbles() {
  return std::is_same_v<Format, Q4_0> || std::is_same_v<Format, Q4_1> ||
         std::is_same_v<Format, Q4_k>;
}
/// Both halves of a unit have the same scale.
template <class Format>
constexpr bool has_one_scale() {
  return packed_info(Format::kType).scales <= 2 && !std::is_same_v<Format, Q2_k> &&
         !std::is_same_v<Format, Q3_k> && !std::is_same_v<Format, Q6_k>;
}

/// c + products of unsigned bytes with signed ones.
__device__ inline int add_products(std::uint32_t a, std::uint32_t b, int c) {
  int d;
  asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
/// Sum of the nibbles of w times x: upper ones as they are, 16 times too large, until the end.
__device__ inline int nibble_products(const uint4& w, const XUnit& x) {
  constexpr std::uint32_t kLow = 0x0F0F0F0Fu, kHigh = 0xF0F0F0F0u;
  int low = add_products(w.x & kLow, x.first.x, 0), high = add_products(w.x & kHigh, x.last.x, 0);
  low = add_products(w.y & kLow, x.first.y, low);
  high = add_products(w.y & kHigh, x.last.y, high);
  low = add_products(w.z & kLow, x.first.z, low);
  high = add_products(w.z & kHigh, x.last.z, high);
  low = add_products(w.w & kLow, x.first.w, low);
  high = add_products(w.w & kHigh, x.last.w, high);
  return low + (high >> 4);
}
__device__ inline int products(const int* codes, const uint4& x) {
  int sum = __dp4a(codes[0], static_cast<int>(x.x), 0);
  sum = __dp4a(codes[1], static_cast<int>(x.y), sum);
  sum = __dp4a(codes[2], static_cast<int>(x.z), sum);
  return __dp4a(codes[3], static_cast<int>(x.w), sum);
}

/// sum += a unit of w times one of x.
template <class Format>
__device__ void add_unit(const typename Format::Raw& raw, const XUnit& x, float& sum) {
  const Unit w = Format::decode(raw);
  float dot;
  if constexpr (has_one_scale<Format>()) {
    int total;
    if constexpr (is_nibbles<Format>())
      total = nibble_products(raw.codes, x);
    else
      total = products(w.code, x.first) + products(w.code + 4, x.last);
    dot = fmaf(w.d[0], static_cast<float>(total), __fmul_rn(w.m[0], x.sums.x + x.sums.y));
  } else {
    dot = __fmul_rn(w.m[1], x.sums.y);
    dot = fmaf(w.m[0], x.sums.x, dot);
    dot = fmaf(w.d[1], static_cast<float>(products(w.code + 4, x.last)), dot);
    dot = fmaf(w.d[0], static_cast<float>(products(w.code, x.first)), dot);
  }
  sum = fmaf(x.scale, dot, sum);
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
      if (u + b * lanes < x.units)
        for (int t = 0; t < kTokens; ++t)
          add_unit<Format>(raw[b], x.unit(t, u + b * lanes), sum[t]);
  }
}

/// sum += half a unit of q8_0 times one of x.
__device__ inline void add_half(
    const uint4& codes, float scale, const uint4& x, float x_scale, float& sum) {
  const int w[4] = {static_cast<int>(codes.x), static_cast<int>(codes.y),
                    static_cast<int>(codes.z), static_cast<int>(codes.w)};
  sum = fmaf(__fmul_rn(x_scale, scale), static_cast<float>(products(w, x)), sum);
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
