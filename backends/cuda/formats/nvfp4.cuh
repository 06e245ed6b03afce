// nvfp4: E2M1 codes under an unsigned E4M3 scale for each half unit.
#pragma once
#include "backends/cuda/formats/unit.cuh"

namespace runnel::cuda {

struct Nvfp4 {
  static constexpr quant::DType kType = quant::DType::nvfp4;
  static constexpr int kBlock = 64;  // values
  static constexpr int kCodeBits = 4;

  struct Raw {
    uint4 codes;
    std::uint16_t scales;
  };
  template <class P>
  static __device__ Raw load(const P& p, std::int64_t unit) {
    return {unit::load<uint4>(p, 0, unit), unit::load<std::uint16_t>(p, 2, unit)};
  }
  static __device__ float half_e4m3(int bits) {
    if (bits == 0x7F) return 0.0f;
    const int exponent = bits >> 3 & 15;
    const auto mantissa = static_cast<float>(bits & 7);
    if (exponent == 0) return mantissa * 0x1p-10f;
    return (8.0f + mantissa) * static_cast<float>(1 << exponent) * 0x1p-11f;
  }
  static __device__ Unit decode(const Raw& raw) {
    Unit u;
    // Twice the values, as in mxfp4; the scales are halved.
    unit::look_up(raw.codes, {0x03020100u, 0x0C080604u, 0xFDFEFF00u, 0xF4F8FAFCu}, u.code);
    for (int h = 0; h < 2; ++h) {
      u.d[h] = half_e4m3(raw.scales >> (8 * h) & 255);
      u.m[h] = 0.0f;
    }
    return u;
  }

  // From a block as it is in the file:
  static __device__ int code(const std::uint8_t* block, int n) {
    return unit::nibble_at(block + 4 + 8 * (n / 16), n % 16, 8);
  }
  static __device__ void scales(const std::uint8_t* block, int part, std::uint8_t* to) {
    unit::copy(block + 2 * part, 2, to);
  }
  static __device__ void head(const std::uint8_t* block, std::uint8_t* to) {
    (void)block, (void)to;
  }
};

}  // namespace runnel::cuda
