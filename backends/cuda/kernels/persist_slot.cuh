// Formats whose weights a run reads, and their units as they lie in a slot of the ring.
#pragma once
#include "backends/cuda/formats/formats.cuh"
#include "backends/cuda/kernels/matvec_plain.cuh"
#include "backends/cuda/kernels/persist.cuh"

namespace runnel::cuda {

/// A format's unit from a slot; `unit`: its number, of which the low bits count.
template <class Format, class Slots>
__device__ typename Format::Raw raw_of(const Slots& s, unsigned unit) {
  const auto half = [](std::uint32_t word, unsigned i) {
    return static_cast<std::uint16_t>(word >> (i % 2 * 16));
  };
  if constexpr (std::is_same_v<Format, Q8_0>)
    return {s.main(0), s.main(1), half(s.aux(0), unit)};
  else if constexpr (std::is_same_v<Format, Q4_0>)
    return {s.main(0), half(s.aux(0), unit)};
  else if constexpr (std::is_same_v<Format, Q4_k>)
    return {s.main(0), half(s.aux(0), unit), s.aux(1)};
  else if constexpr (std::is_same_v<Format, Q5_k>)
    return {s.main(0), s.aux(2), half(s.aux(0), unit), s.aux(1)};
  else if constexpr (std::is_same_v<Format, Q6_k>)
    return {s.main(0), {s.aux(2), s.aux(3)}, half(s.aux(0), unit), half(s.aux(1), unit / 8)};
  else
    return {s.main(0), static_cast<std::int8_t>(s.aux(0) >> (unit % 4 * 8)),
            half(s.aux(1), unit / 8)};
}

/// Calls f.template operator()<Format>() with the format of a product's weights.
template <Weight weight, class F>
__device__ void with_weight(quant::DType type, F&& f) {
  if constexpr (weight == Weight::plain) {
    if (type == quant::DType::f16) return f.template operator()<PlainF16>();
    return f.template operator()<PlainBf16>();
  } else if constexpr (weight == Weight::bytes) {
    return f.template operator()<Q8_0>();
  } else {
    switch (type) {
      case quant::DType::q4_0:
        return f.template operator()<Q4_0>();
      case quant::DType::q4_k:
        return f.template operator()<Q4_k>();
      case quant::DType::q5_k:
        return f.template operator()<Q5_k>();
      case quant::DType::q6_k:
        return f.template operator()<Q6_k>();
      default:
        return f.template operator()<Iq4_xs>();
    }
  }
}

}  // namespace runnel::cuda
