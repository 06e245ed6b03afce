// q5_k: 5-bit codes; a 6-bit scale and minimum a unit (a byte each), two f16 heads a block.
#pragma once
#include "backends/cuda/formats/unit.cuh"

namespace runnel::cuda {

struct Q5_k {
  static constexpr quant::DType kType = quant::DType::q5_k;
  static constexpr int kBlock = 256;  // values
  static constexpr int kCodeBits = 4;

  struct Raw {
    uint4 codes;
    std::uint32_t high;
    std::uint16_t scales;
    std::uint32_t head;
  };
  template <class P>
  static __device__ Raw load(const P& p, std::int64_t unit) {
    return {unit::load<uint4>(p, 0, unit), unit::load<std::uint32_t>(p, 1, unit),
            unit::load<std::uint16_t>(p, 2, unit), unit::load<std::uint32_t>(p, 3, unit / 8)};
  }
  static __device__ Unit decode(const Raw& raw) {
    Unit u;
    unit::nibbles(raw.codes, u.code);
    unit::add_bits(raw.high, 4, u.code);
    const float2 head = unit::halves(raw.head);
    unit::scale_all(u, head.x * static_cast<float>(raw.scales & 255),
                    -head.y * static_cast<float>(raw.scales >> 8));
    return u;
  }

  // From a block as it is in the file:
  static __device__ int code(const std::uint8_t* block, int n) {
    return unit::nibble_at(block + 48 + 32 * (n / 64), n % 64, 32) |
           (block[16 + n % 32] >> (n / 32) & 1) << 4;
  }
  static __device__ void scales(const std::uint8_t* block, int part, std::uint8_t* to) {
    const int j = part % 4;
    const std::uint8_t* s = block + 4;
    if (part < 4) {
      to[0] = s[j] & 63;
      to[1] = s[j + 4] & 63;
    } else {
      to[0] = static_cast<std::uint8_t>((s[j + 8] & 15) | (s[j] >> 6) << 4);
      to[1] = static_cast<std::uint8_t>(s[j + 8] >> 4 | (s[j + 4] >> 6) << 4);
    }
  }
  static __device__ void head(const std::uint8_t* block, std::uint8_t* to) {
    unit::copy(block, 4, to);
  }
};

}  // namespace runnel::cuda
