// iq4_xs: codes of iq4_nl; a signed scale a unit, an f16 head a block.
#pragma once
#include "backends/cuda/formats/unit.cuh"

namespace runnel::cuda {

struct Iq4_xs {
  static constexpr quant::DType kType = quant::DType::iq4_xs;
  static constexpr int kBlock = 256;  // values
  static constexpr int kCodeBits = 4;

  struct Raw {
    uint4 codes;
    std::int8_t scale;
    std::uint16_t head;
  };
  template <class P>
  static __device__ Raw load(const P& p, std::int64_t unit) {
    return {unit::load<uint4>(p, 0, unit), unit::load<std::int8_t>(p, 2, unit),
            unit::load<std::uint16_t>(p, 3, unit / 8)};
  }
  static __device__ Unit decode(const Raw& raw) {
    Unit u;
    // The levels of iq4_nl.
    unit::look_up(raw.codes, {0xBFAD9881u, 0xF6EADDCFu, 0x26190D01u, 0x71594535u}, u.code);
    unit::scale_all(u, unit::half_at(&raw.head) * static_cast<float>(raw.scale), 0.0f);
    return u;
  }

  // From a block as it is in the file:
  static __device__ int code(const std::uint8_t* block, int n) {
    return unit::nibble_at(block + 8 + 16 * (n / 32), n % 32, 16);
  }
  static __device__ void scales(const std::uint8_t* block, int part, std::uint8_t* to) {
    const int low = block[4 + part / 2] >> (4 * (part % 2)) & 15;
    const int high = unit::word_at(block + 2) >> (2 * part) & 3;
    to[0] = static_cast<std::uint8_t>((low | high << 4) - 32);
  }
  static __device__ void head(const std::uint8_t* block, std::uint8_t* to) {
    unit::copy(block, 2, to);
  }
};

}  // namespace runnel::cuda
