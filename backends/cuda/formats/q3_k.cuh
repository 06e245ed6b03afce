// q3_k: 3-bit codes less 4; a signed scale for each half unit, an f16 head a block.
#pragma once
#include "backends/cuda/formats/unit.cuh"

namespace runnel::cuda {

struct Q3_k {
  static constexpr quant::DType kType = quant::DType::q3_k;
  static constexpr int kBlock = 256;  // values
  static constexpr int kCodeBits = 2;

  struct Raw {
    uint2 codes;
    std::uint32_t high;
    std::uint16_t scales, head;
  };
  template <class P>
  static __device__ Raw load(const P& p, std::int64_t unit) {
    return {unit::load<uint2>(p, 0, unit), unit::load<std::uint32_t>(p, 1, unit),
            unit::load<std::uint16_t>(p, 2, unit), unit::load<std::uint16_t>(p, 3, unit / 8)};
  }
  static __device__ Unit decode(const Raw& raw) {
    Unit u;
    unit::pairs(raw.codes, u.code);
    unit::add_bits(raw.high, 2, u.code);
    const float head = unit::half_at(&raw.head);
    for (int h = 0; h < 2; ++h) {
      u.d[h] = head * static_cast<float>(static_cast<std::int8_t>(raw.scales >> (8 * h)));
      u.m[h] = -4.0f * u.d[h];
    }
    return u;
  }

  // From a block as it is in the file:
  static __device__ int code(const std::uint8_t* block, int n) {
    return unit::pair_at(block + 32, n) | (block[n % 32] >> (n / 32) & 1) << 2;
  }
  static __device__ void scales(const std::uint8_t* block, int part, std::uint8_t* to) {
    for (int h = 0; h < 2; ++h) {
      const int j = 2 * part + h;
      const std::uint8_t* s = block + 96;
      const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
      const int high = s[8 + j % 4] >> (2 * (j / 4)) & 3;
      to[h] = static_cast<std::uint8_t>((low | high << 4) - 32);
    }
  }
  static __device__ void head(const std::uint8_t* block, std::uint8_t* to) {
    unit::copy(block + 108, 2, to);
  }
};

}  // namespace runnel::cuda
