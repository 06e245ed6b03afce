// q2_k: 2-bit codes; a 4-bit scale and minimum for each half unit, two f16 heads a block.
#pragma once
#include "backends/cuda/formats/unit.cuh"

namespace runnel::cuda {

struct Q2_k {
  static constexpr quant::DType kType = quant::DType::q2_k;
  static constexpr int kBlock = 256;  // values
  static constexpr int kCodeBits = 2;

  struct Raw {
    uint2 codes;
    std::uint16_t scales;
    std::uint32_t head;
  };
  template <class P>
  static __device__ Raw load(const P& p, std::int64_t unit) {
    return {unit::load<uint2>(p, 0, unit), unit::load<std::uint16_t>(p, 2, unit),
            unit::load<std::uint32_t>(p, 3, unit / 8)};
  }
  static __device__ Unit decode(const Raw& raw) {
    Unit u;
    unit::pairs(raw.codes, u.code);
    const float2 head = unit::halves(raw.head);
    for (int h = 0; h < 2; ++h) {
      const int s = raw.scales >> (8 * h) & 255;
      u.d[h] = head.x * static_cast<float>(s & 15);
      u.m[h] = -head.y * static_cast<float>(s >> 4);
    }
    return u;
  }

  // From a block as it is in the file:
  static __device__ int code(const std::uint8_t* block, int n) {
    return unit::pair_at(block + 16, n);
  }
  static __device__ void scales(const std::uint8_t* block, int part, std::uint8_t* to) {
    unit::copy(block + 2 * part, 2, to);
  }
  static __device__ void head(const std::uint8_t* block, std::uint8_t* to) {
    unit::copy(block + 80, 4, to);
  }
};

}  // namespace runnel::cuda
