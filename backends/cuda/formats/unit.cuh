// What the formats share: a unit of 32 values as 8-bit codes and scales, and how codes of few bits
// become bytes. value i = d * code + m, where d and m are those of its half of the unit.
#pragma once
#include <cuda_fp16.h>

#include <cstdint>

#include "backends/cuda/layout.h"

namespace runnel::cuda {

/// The planes of one weight (layout.h).
struct Planes {
  const std::uint8_t* at[kPlanes];

  template <class T>
  __device__ T load(int plane, std::int64_t index) const {
    return __ldg(reinterpret_cast<const T*>(at[plane]) + index);
  }
};

struct Unit {
  int code[8];       // signed bytes, value 4 k + i in byte i of code[k]
  float d[2], m[2];  // of values 0..15 and 16..31
};

namespace unit {

__device__ inline float half_at(const void* p) {
  return __half2float(*static_cast<const __half*>(p));
}

__device__ inline float2 halves(std::uint32_t bits) {
  return __half22float2(*reinterpret_cast<const __half2*>(&bits));
}

/// Field `index` of a plane; P: Planes, or what holds a part of them.
template <class T, class P>
__device__ inline T load(const P& planes, int plane, std::int64_t index) {
  return planes.template load<T>(plane, index);
}

__device__ inline void nibbles(const uint4& v, int (&code)[8]) {
  const std::uint32_t words[4] = {v.x, v.y, v.z, v.w};
  for (int k = 0; k < 4; ++k) {
    code[k] = static_cast<int>(words[k] & 0x0F0F0F0Fu);
    code[k + 4] = static_cast<int>(words[k] >> 4 & 0x0F0F0F0Fu);
  }
}

__device__ inline void pairs(const uint2& v, int (&code)[8]) {
  for (int k = 0; k < 4; ++k) {
    code[k] = static_cast<int>(v.x >> (2 * k) & 0x03030303u);
    code[k + 4] = static_cast<int>(v.y >> (2 * k) & 0x03030303u);
  }
}

__device__ inline void add_bits(std::uint32_t bits, int shift, int (&code)[8]) {
  for (int k = 0; k < 8; ++k) code[k] |= static_cast<int>((bits >> k & 0x01010101u) << shift);
}

__device__ inline void add_pairs(const uint2& v, int shift, int (&code)[8]) {
  for (int k = 0; k < 4; ++k) {
    code[k] |= static_cast<int>((v.x >> (2 * k) & 0x03030303u) << shift);
    code[k + 4] |= static_cast<int>((v.y >> (2 * k) & 0x03030303u) << shift);
  }
}

/// Four table entries of one byte, by the nibbles 0..3 of `q`.
__device__ inline std::uint32_t look_up_4(std::uint32_t q, const uint4& table) {
  const std::uint32_t low = __byte_perm(table.x, table.y, q & 0x7777u);
  const std::uint32_t high = __byte_perm(table.z, table.w, q & 0x7777u);
  return __byte_perm(low, high, 0x3210u + ((q & 0x8888u) >> 1));
}

/// Codes are the entries of a table of 16 signed bytes.
__device__ inline void look_up(const uint4& v, const uint4& table, int (&code)[8]) {
  const std::uint32_t words[4] = {v.x, v.y, v.z, v.w};
  for (int k = 0; k < 4; ++k) {
    const std::uint32_t a = look_up_4(words[k], table), b = look_up_4(words[k] >> 16, table);
    code[k] = static_cast<int>(__byte_perm(a, b, 0x6420u));
    code[k + 4] = static_cast<int>(__byte_perm(a, b, 0x7531u));
  }
}

__device__ inline void scale_all(Unit& u, float d, float m) {
  u.d[0] = u.d[1] = d;
  u.m[0] = u.m[1] = m;
}

// Fields of blocks as they are in the file: any alignment.
__device__ inline std::uint16_t word_at(const std::uint8_t* p) {
  return static_cast<std::uint16_t>(p[0] | p[1] << 8);
}
__device__ inline int nibble_at(const std::uint8_t* qs, int n, int half) {
  return n < half ? qs[n] & 15 : qs[n - half] >> 4;
}
__device__ inline void copy(const std::uint8_t* from, int n, std::uint8_t* to) {
  for (int i = 0; i < n; ++i) to[i] = from[i];
}
/// Code n of 256 codes of two bits in the order of q2_k.
__device__ inline int pair_at(const std::uint8_t* qs, int n) {
  return qs[32 * (n / 128) + n % 32] >> (2 * (n % 128 / 32)) & 3;
}

}  // namespace unit
}  // namespace runnel::cuda
