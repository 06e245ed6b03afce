// q5_0: 5-bit codes less 16 under one f16 scale a unit.
#pragma once
#include "backends/cuda/formats/unit.cuh"

namespace runnel::cuda {

struct Q5_0 {
  static constexpr quant::DType kType = quant::DType::q5_0;
  static constexpr int kBlock = 32;  // values
  static constexpr int kCodeBits = 4;

  struct Raw {
    uint4 codes;
    std::uint32_t high;
    std::uint16_t scale;
  };
  template <class P>
  static __device__ Raw load(const P& p, std::int64_t unit) {
    return {unit::load<uint4>(p, 0, unit), unit::load<std::uint32_t>(p, 1, unit),
            unit::load<std::uint16_t>(p, 2, unit)};
  }
  static __device__ Unit decode(const Raw& raw) {
    Unit u;
    unit::nibbles(raw.codes, u.code);
    unit::add_bits(raw.high, 4, u.code);
    const float d = unit::half_at(&raw.scale);
    unit::scale_all(u, d, -16.0f * d);
    return u;
  }

  // From a block as it is in the file:
  static __device__ int code(const std::uint8_t* block, int n) {
    return unit::nibble_at(block + 6, n, 16) | (block[2 + n / 8] >> (n % 8) & 1) << 4;
  }
  static __device__ void scales(const std::uint8_t* block, int part, std::uint8_t* to) {
    (void)part;
    unit::copy(block, 2, to);
  }
  static __device__ void head(const std::uint8_t* block, std::uint8_t* to) {
    (void)block, (void)to;
  }
};

}  // namespace runnel::cuda
