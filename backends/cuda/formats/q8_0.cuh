// q8_0: signed bytes under one f16 scale a unit.
#pragma once
#include "backends/cuda/formats/unit.cuh"

namespace runnel::cuda {

struct Q8_0 {
  static constexpr quant::DType kType = quant::DType::q8_0;
  static constexpr int kBlock = 32;  // values
  static constexpr int kCodeBits = 8;

  struct Raw {
    uint4 first, second;
    std::uint16_t scale;
  };
  template <class P>
  static __device__ Raw load(const P& p, std::int64_t unit) {
    return {unit::load<uint4>(p, 0, 2 * unit), unit::load<uint4>(p, 0, 2 * unit + 1),
            unit::load<std::uint16_t>(p, 2, unit)};
  }
  static __device__ Unit decode(const Raw& raw) {
    Unit u;
    const std::uint32_t words[8] = {raw.first.x,  raw.first.y,  raw.first.z,  raw.first.w,
                                    raw.second.x, raw.second.y, raw.second.z, raw.second.w};
    for (int k = 0; k < 8; ++k) u.code[k] = static_cast<int>(words[k]);
    unit::scale_all(u, unit::half_at(&raw.scale), 0.0f);
    return u;
  }

  // From a block as it is in the file:
  static __device__ int code(const std::uint8_t* block, int n) { return block[2 + n]; }
  static __device__ void scales(const std::uint8_t* block, int part, std::uint8_t* to) {
    (void)part;
    unit::copy(block, 2, to);
  }
  static __device__ void head(const std::uint8_t* block, std::uint8_t* to) {
    (void)block, (void)to;
  }
};

}  // namespace runnel::cuda
