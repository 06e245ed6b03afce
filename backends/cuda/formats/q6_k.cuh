// q6_k: 6-bit codes less 32; a signed scale for each half unit, an f16 head a block.
#pragma once
#include "backends/cuda/formats/unit.cuh"

namespace runnel::cuda {

struct Q6_k {
  static constexpr quant::DType kType = quant::DType::q6_k;
  static constexpr int kBlock = 256;  // values
  static constexpr int kCodeBits = 4;

  struct Raw {
    uint4 codes;
    uint2 high;
    std::uint16_t scales, head;
  };
  template <class P>
  static __device__ Raw load(const P& p, std::int64_t unit) {
    return {unit::load<uint4>(p, 0, unit), unit::load<uint2>(p, 1, unit),
            unit::load<std::uint16_t>(p, 2, unit), unit::load<std::uint16_t>(p, 3, unit / 8)};
  }
  static __device__ Unit decode(const Raw& raw) {
    Unit u;
    unit::nibbles(raw.codes, u.code);
    unit::add_pairs(raw.high, 4, u.code);
    const float head = unit::half_at(&raw.head);
    for (int h = 0; h < 2; ++h) {
      u.d[h] = head * static_cast<float>(static_cast<std::int8_t>(raw.scales >> (8 * h)));
      u.m[h] = -32.0f * u.d[h];
    }
    return u;
  }

  // From a block as it is in the file:
  static __device__ int code(const std::uint8_t* block, int n) {
    return unit::nibble_at(block + 64 * (n / 128), n % 128, 64) | unit::pair_at(block + 128, n)
                                                                      << 4;
  }
  static __device__ void scales(const std::uint8_t* block, int part, std::uint8_t* to) {
    unit::copy(block + 192 + 2 * part, 2, to);
  }
  static __device__ void head(const std::uint8_t* block, std::uint8_t* to) {
    unit::copy(block + 208, 2, to);
  }
};

}  // namespace runnel::cuda
