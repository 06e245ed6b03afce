// tq1_0: ternary codes less 1 under one f16 head a block; two bits each on the device.
#pragma once
#include "backends/cuda/formats/unit.cuh"

namespace runnel::cuda {

struct Tq1_0 {
  static constexpr quant::DType kType = quant::DType::tq1_0;
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

  /// Digit k of a byte is the k-th of base 3 of byte / 256.
  static __device__ int digit(const std::uint8_t* block, int n) {
    int byte, k;
    if (n < 160) {
      byte = n % 32;
      k = n / 32;
    } else if (n < 240) {
      byte = 32 + (n - 160) % 16;
      k = (n - 160) / 16;
    } else {
      byte = 48 + (n - 240) % 4;
      k = (n - 240) / 4;
    }
    int power = 1;
    for (; k > 0; --k) power *= 3;
    return ((block[byte] * power & 255) * 3) >> 8;
  }

  // From a block as it is in the file:
  static __device__ int code(const std::uint8_t* block, int n) { return digit(block, n); }
  static __device__ void scales(const std::uint8_t* block, int part, std::uint8_t* to) {
    (void)block, (void)part, (void)to;
  }
  static __device__ void head(const std::uint8_t* block, std::uint8_t* to) {
    unit::copy(block + 52, 2, to);
  }
};

}  // namespace runnel::cuda
