// tq2_0: 2-bit codes less 1 under one f16 head a block.
#pragma once
#include "backends/cuda/formats/unit.cuh"

namespace runnel::cuda {

struct Tq2_0 {
  static constexpr quant::DType kType = quant::DType::tq2_0;
  static constexpr int kBlock = 256;  // values
  static constexpr int kCodeBits = 2;

  struct Raw {
    uint2 codes;
    std::uint16_t head;
  };
  template <class P>
  static __device__ Raw load(const P& p, std::int64_t unit) {
    return {unit::load<uint2>(p, 0, unit), unit::load<std::uint16_t>(p, 3, unit / 8)};
  }
  static __device__ Unit decode(const Raw& raw) {
    Unit u;
    unit::pairs(raw.codes, u.code);
    const float d = unit::half_at(&raw.head);
    unit::scale_all(u, d, -d);
    return u;
  }

  // From a block as it is in the file:
  static __device__ int code(const std::uint8_t* block, int n) { return unit::pair_at(block, n); }
  static __device__ void scales(const std::uint8_t* block, int part, std::uint8_t* to) {
    (void)block, (void)part, (void)to;
  }
  static __device__ void head(const std::uint8_t* block, std::uint8_t* to) {
    unit::copy(block + 64, 2, to);
  }
};

}  // namespace runnel::cuda
