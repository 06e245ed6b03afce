// Products of one unit of packed weights with a unit of x, in whole numbers.
#pragma once
#include <type_traits>

#include "backends/cuda/formats/formats.cuh"
#include "backends/cuda/kernels/matvec_x.cuh"

namespace runnel::cuda {

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

/// sum += half a unit of q8_0 times one of x.
__device__ inline void add_half(
    const uint4& codes, float scale, const uint4& x, float x_scale, float& sum) {
  const int w[4] = {static_cast<int>(codes.x), static_cast<int>(codes.y), static_cast<int>(codes.z),
                    static_cast<int>(codes.w)};
  sum = fmaf(__fmul_rn(x_scale, scale), static_cast<float>(products(w, x)), sum);
}

}  // namespace runnel::cuda
