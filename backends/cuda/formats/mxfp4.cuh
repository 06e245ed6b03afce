// mxfp4: E2M1 codes under one power of two a unit.
#pragma once
#include "backends/cuda/formats/unit.cuh"

namespace runnel::cuda {

struct Mxfp4 {
  static constexpr quant::DType kType = quant::DType::mxfp4;
  static constexpr int kBlock = 32;  // values
  static constexpr int kCodeBits = 4;

  struct Raw {
    uint4 codes;
    std::uint8_t exponent;
  };
  template <class P>
  static __device__ Raw load(const P& p, std::int64_t unit) {
    return {unit::load<uint4>(p, 0, unit), unit::load<std::uint8_t>(p, 2, unit)};
  }
  static __device__ Unit decode(const Raw& raw) {
    Unit u;
    // Twice the values 0 0.5 1 1.5 2 3 4 6 and their negatives as bytes.
    unit::look_up(raw.codes, {0x03020100u, 0x0C080604u, 0xFDFEFF00u, 0xF4F8FAFCu}, u.code);
    unit::scale_all(u, ldexpf(1.0f, raw.exponent - 128), 0.0f);
    return u;
  }

  // From a block as it is in the file:
  static __device__ int code(const std::uint8_t* block, int n) {
    return unit::nibble_at(block + 1, n, 16);
  }
  static __device__ void scales(const std::uint8_t* block, int part, std::uint8_t* to) {
    (void)part;
    unit::copy(block, 1, to);
  }
  static __device__ void head(const std::uint8_t* block, std::uint8_t* to) {
    (void)block, (void)to;
  }
};

}  // namespace runnel::cuda
