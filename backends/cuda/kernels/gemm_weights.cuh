// How 32 values of a row of W become f16 for the tensor cores.
#pragma once
#include <cuda_bf16.h>

#include "backends/cuda/formats/formats.cuh"

namespace runnel::cuda {

struct HalfRow {
  static constexpr quant::DType kType = quant::DType::f16;
  struct Raw {
    uint4 part[4];
  };
  static __device__ Raw load(const Planes& p, std::int64_t unit) {
    return {{unit::load<uint4>(p.at[0], 4 * unit), unit::load<uint4>(p.at[0], 4 * unit + 1),
             unit::load<uint4>(p.at[0], 4 * unit + 2), unit::load<uint4>(p.at[0], 4 * unit + 3)}};
  }
  static __device__ void store(const Raw& raw, __half* to) {
#pragma unroll
    for (int i = 0; i < 4; ++i) reinterpret_cast<uint4*>(to)[i] = raw.part[i];
  }
};

/// Exact but for values below 6e-5 in size, which f16 holds less finely.
struct BfloatRow {
  static constexpr quant::DType kType = quant::DType::bf16;
  using Raw = HalfRow::Raw;
  static __device__ Raw load(const Planes& p, std::int64_t unit) { return HalfRow::load(p, unit); }
  static __device__ std::uint32_t convert(std::uint32_t bits) {
    const __half2 h = __floats2half2_rn(__uint_as_float(bits << 16),
                                        __uint_as_float(bits & 0xFFFF0000u));
    return *reinterpret_cast<const std::uint32_t*>(&h);
  }
  static __device__ void store(const Raw& raw, __half* to) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint4 v = raw.part[i];
      reinterpret_cast<uint4*>(to)[i] = {convert(v.x), convert(v.y), convert(v.z), convert(v.w)};
    }
  }
};

template <class Format>
struct PackedRow {
  static constexpr quant::DType kType = Format::kType;
  using Raw = typename Format::Raw;
  static __device__ Raw load(const Planes& p, std::int64_t unit) { return Format::load(p, unit); }
  /// Byte i of four signed bytes that were biased by 128; an addition is cheaper than a conversion.
  static __device__ float value(std::uint32_t biased, std::uint32_t i) {
    return __uint_as_float(__byte_perm(biased, 0x4B000000u, 0x7440u + i)) - 8388736.0f;
  }
  static __device__ void store(const Raw& raw, __half* to) {
    const Unit u = Format::decode(raw);
#pragma unroll
    for (int k = 0; k < 8; k += 2) {
      std::uint32_t out[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const std::uint32_t biased = static_cast<std::uint32_t>(u.code[k + j / 2]) ^ 0x80808080u;
        const int h = k / 4;
        const std::uint32_t i = static_cast<std::uint32_t>(j % 2) * 2;
        const __half2 pair = __floats2half2_rn(fmaf(u.d[h], value(biased, i), u.m[h]),
                                               fmaf(u.d[h], value(biased, i + 1), u.m[h]));
        out[j] = *reinterpret_cast<const std::uint32_t*>(&pair);
      }
      reinterpret_cast<uint4*>(to)[k / 2] = {out[0], out[1], out[2], out[3]};
    }
  }
};

/// Calls f.template operator()<Row>() with the row type of float16 types and packed ones.
template <class F>
inline auto with_row(quant::DType type, F&& f) {
  if (type == quant::DType::f16) return f.template operator()<HalfRow>();
  if (type == quant::DType::bf16) return f.template operator()<BfloatRow>();
  return with_format(type, [&]<class Format>() { return f.template operator()<PackedRow<Format>>(); });
}

}  // namespace runnel::cuda
