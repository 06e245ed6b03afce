// How tiles of W become f16 for the tensor cores: 256 threads load, convert and store one together.
#pragma once
#include <cuda_bf16.h>

#include "backends/cuda/formats/formats.cuh"

namespace runnel::cuda {

/// Where a block's 128 columns of results come from: row of W, and its planes.
struct Column {
  const Planes* planes;
  int row;
};

/// Two f16 values of two f16 or bf16. bf16 to f16: exact but for values below 6e-5 in size, which
/// f16 holds less finely.
template <bool kConvert>
__device__ inline std::uint32_t two_halves(std::uint32_t bits) {
  if (!kConvert) return bits;
  const __half2 h =
      __floats2half2_rn(__uint_as_float(bits << 16), __uint_as_float(bits & 0xFFFF0000u));
  return *reinterpret_cast<const std::uint32_t*>(&h);
}

/// Byte i of four signed bytes that were biased by 128; an addition is cheaper than a conversion.
__device__ inline float biased_value(std::uint32_t biased, std::uint32_t i) {
  return __uint_as_float(__byte_perm(biased, 0x4B000000u, 0x7440u + i)) - 8388736.0f;
}

/// A unit in f16: put(i, eight values) for i in 0..3.
template <class Put>
__device__ inline void put_halves(const Unit& u, Put put) {
#pragma unroll
  for (int k = 0; k < 8; k += 2) {
    std::uint32_t out[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const std::uint32_t biased = static_cast<std::uint32_t>(u.code[k + j / 2]) ^ 0x80808080u;
      const int h = k / 4;
      const std::uint32_t i = static_cast<std::uint32_t>(j % 2) * 2;
      const __half2 pair = __floats2half2_rn(fmaf(u.d[h], biased_value(biased, i), u.m[h]),
                                             fmaf(u.d[h], biased_value(biased, i + 1), u.m[h]));
      out[j] = *reinterpret_cast<const std::uint32_t*>(&pair);
    }
    put(k / 2, uint4{out[0], out[1], out[2], out[3]});
  }
}

/// A thread's share of a tile of W, 128 rows by 64 values, of a plain 16-bit type: 16 bytes of each
/// of four rows, 8 threads side by side in a row, so that loads are whole lines.
template <bool kConvert>
struct SixteenBits {
  const std::uint8_t* from[4];
  uint4 raw[2][4];  // of even and odd tiles
  int first, k;     // value in a tile, values in a row

  template <class Columns>
  __device__ void begin(const Columns& columns, int n_values) {
    k = n_values;
    first = threadIdx.x % 8 * 8;
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const Column column = columns(p * 32 + threadIdx.x / 8);
      from[p] = column.planes->at[0] + (std::int64_t{column.row} * k + first) * 2;
    }
  }
  template <int kParity>
  __device__ void fetch(int tile) {
#pragma unroll
    for (int p = 0; p < 4; ++p)
      raw[kParity][p] = tile * 64 + first < k
                            ? __ldg(reinterpret_cast<const uint4*>(from[p] + tile * 128))
                            : uint4{};
  }
  template <int kParity>
  __device__ void store(__half* tile, int stride) const {
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const uint4 v = raw[kParity][p];
      *reinterpret_cast<uint4*>(tile + (p * 32 + threadIdx.x / 8) * stride + first) = {
          two_halves<kConvert>(v.x), two_halves<kConvert>(v.y), two_halves<kConvert>(v.z),
          two_halves<kConvert>(v.w)};
    }
  }
};

struct HalfRow : SixteenBits<false> {};
struct BfloatRow : SixteenBits<true> {};

/// The same of a packed type: one unit of one row.
template <class Format>
struct PackedRow {
  const Planes* planes;
  std::int64_t first_unit;
  int units;
  typename Format::Raw raw[2];

  template <class Columns>
  __device__ void begin(const Columns& columns, int n_values) {
    const Column column = columns(threadIdx.x / 2);
    planes = column.planes;
    units = n_values / kUnit;
    first_unit = std::int64_t{column.row} * units;
  }
  /// Units past the end of a row meet zeros of x.
  template <int kParity>
  __device__ void fetch(int tile) {
    const int u = 2 * tile + static_cast<int>(threadIdx.x) % 2;
    raw[kParity] = Format::load(*planes, first_unit + min(u, units - 1));
  }
  template <int kParity>
  __device__ void store(__half* tile, int stride) const {
    auto* const to =
        reinterpret_cast<uint4*>(tile + threadIdx.x / 2 * stride + threadIdx.x % 2 * kUnit);
    put_halves(Format::decode(raw[kParity]), [&](int i, const uint4& v) { to[i] = v; });
  }
};

/// Calls f.template operator()<Row>() with the row type of float16 types and packed ones.
template <class F>
inline auto with_row(quant::DType type, F&& f) {
  if (type == quant::DType::f16) return f.template operator()<HalfRow>();
  if (type == quant::DType::bf16) return f.template operator()<BfloatRow>();
  return with_format(type,
                     [&]<class Format>() { return f.template operator()<PackedRow<Format>>(); });
}

}  // namespace runnel::cuda
