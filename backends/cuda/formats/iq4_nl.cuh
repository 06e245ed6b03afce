// iq4_nl: 4-bit codes of uneven levels under one f16 scale a unit.
#pragma once
#include "backends/cuda/formats/unit.cuh"

namespace runnel::cuda {

struct Iq4_nl {
  static constexpr quant::DType kType = quant::DType::iq4_nl;
  static constexpr int kBlock = 32;  // values
  static constexpr int kCodeBits = 4;

  struct Raw {
    uint4 codes;
    std::uint16_t scale;
  };
  template <class P>
  static __device__ Raw load(const P& p, std::int64_t unit) {
    return {unit::load<uint4>(p, 0, unit), unit::load<std::uint16_t>(p, 2, unit)};
  }
  static __device__ Unit decode(const Raw& raw) {
    Unit u;
    // The levels -127 -104 -83 -65, -49 -35 -22 -10, 1 13 25 38, 53 69 89 113 as bytes.
    unit::look_up(raw.codes, {0xBFAD9881u, 0xF6EADDCFu, 0x26190D01u, 0x71594535u}, u.code);
    unit::scale_all(u, unit::half_at(&raw.scale), 0.0f);
    return u;
  }

  // From a block as it is in the file:
  static __device__ int code(const std::uint8_t* block, int n) {
    return unit::nibble_at(block + 2, n, 16);
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
