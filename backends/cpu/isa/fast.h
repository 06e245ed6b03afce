// Weight formats that have kernels, and what their products are, to the bit. Included by ISA files
// and by baseline files alike: nothing here may generate code.
#pragma once
#include <stdint.h>

namespace runnel::cpu {

/// Weight formats with their own dot kernels, in the order of Kernels::matmul.
enum class Fast : uint8_t {
  f32,
  f16,
  bf16,
  bf16_dots,  // bf16 too, by instructions that want activations in bf16
  q8_0,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  iq4_nl,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq4_xs,
  count
};
inline constexpr int kFastCount = static_cast<int>(Fast::count);
inline constexpr bool is_quantised(Fast format) {
  return format >= Fast::q8_0;
}
/// x is rounded, to Chunks or to bf16, before it is multiplied.
inline constexpr bool rounds_input(Fast format) {
  return format >= Fast::bf16_dots;
}

/// Values per scale of a quantised format; of bf16_dots, values that one lane multiplies at once.
inline constexpr int group_of(Fast format) {
  if (format == Fast::bf16_dots) return 2;
  const bool small = format == Fast::q2_k || format == Fast::q3_k || format == Fast::q6_k;
  return small ? 16 : 32;
}

// Quantised products are defined in one order, whatever the kernel, the number of tokens and the
// ISA level. Weights are groups of 32 (or 16) values with a scale and perhaps a minimum; group g
// belongs to chain g % 8, and
//   chain[c] = sum over its groups, ascending: fma(dot, w_scale * x_scale, .),
//                                             then fma(w_min, x_scale * sum of x, .)
//   y = ((c0 + c4) + (c2 + c6)) + ((c1 + c5) + (c3 + c7)),
// where dot is exact in integers.
inline constexpr int64_t kChains = 8;

// Products of bf16_dots likewise: pair p of a row's values belongs to chain p % 16, each chain adds
// its pairs in ascending order by vdpbf16ps, and chains are summed as halves, c[i] + c[i + 8]
// first. x is rounded to bf16 (nearest even), in rows of padded_bf16(k) values, zeros at the end.
inline constexpr int64_t kBf16Chains = 16;
inline constexpr int64_t padded_bf16(int64_t k) {
  return (k + 31) / 32 * 32;
}

}  // namespace runnel::cpu
