// Four weight rows with one token, by AVX-512. Two rows share a register from their sums on: chain
// c of the first in lane c, of the second in lane 8 + c. The rows go stage by stage, because one
// row's sums wait for each other longer than the processor looks ahead.
#pragma once
#include "backends/cpu/isa/activations.h"

namespace runnel::cpu::RUNNEL_ISA {

/// Formats with a function pair_scales() give the scales and minimums of groups 0..7 of a chunk of
/// two rows, then of groups 8..15.
template <class Format>
constexpr bool kHasPairScales = requires {
  &Format::pair_scales;
};
/// Groups 0..7 (half 0) or 8..15 of two rows.
inline F halves_of(F a, F b, int half) {
  return half ? _mm512_shuffle_f32x4(a, b, 0xEE) : _mm512_shuffle_f32x4(a, b, 0x44);
}
template <class Format>
inline void scales_of_two(const uint8_t* a, const uint8_t* b, F* scale, F* min) {
  if constexpr (kHasPairScales<Format>) return Format::pair_scales(a, b, scale, min);
  alignas(64) float scales[2][16], mins[2][16];
  Format::scales(a, scales[0], mins[0]);
  Format::scales(b, scales[1], mins[1]);
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    scale[half] = halves_of(load(scales[0]), load(scales[1]), half);
    if constexpr (Format::kHasMin) min[half] = halves_of(load(mins[0]), load(mins[1]), half);
  }
}

/// Activations of a chunk, as two rows meet them: [groups 0..7 twice], [8..15 twice].
template <class Format>
struct PairActivations {
  const int8_t* q;
  F scale[2], scaled_sum[2];
  I sum[2];  // times the offset of the stored weights

  explicit inline PairActivations(const Activations& a) : q(a.q) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const F groups = group_scales<Format::kGroup>(a.scale, 0);
      scale[half] = Format::kGroup == 32
                        ? _mm512_broadcast_f32x8(_mm256_loadu_ps(a.scale + 8 * half))
                        : halves_of(groups, groups, half);
      if constexpr (Format::kHasMin)
        scaled_sum[half] = _mm512_broadcast_f32x8(_mm256_loadu_ps(a.scaled_sum + 8 * half));
      sum[half] = take_offset<Format::kOffset>(
          _mm512_setzero_si512(), _mm512_broadcast_i64x4(_mm256_loadu_si256(
                                      reinterpret_cast<const __m256i*>(a.sum + 8 * half))));
    }
  }
};

/// chains: [2], of rows 0 and 1, then of rows 2 and 3.
template <class Format>
inline void add_four(const uint8_t* const* w, const Activations& activations, F* chains) {
  const PairActivations<Format> x(activations);
  I sums[kStreams];
#pragma GCC unroll 4
  for (int r = 0; r < kStreams; ++r) {
    I weights[8];
#pragma GCC unroll 8
    for (int i = 0; i < kWeightRegisters<Format>; ++i) weights[i] = stored<Format>(w[r], i);
    sums[r] = sum_dots<Format>(weights, x.q);
  }
  const I order = dot_order<Format>();
  const I second = _mm512_add_epi32(order, _mm512_set1_epi32(16));
#pragma GCC unroll 2
  for (int pair = 0; pair < 2; ++pair) {
    F scale[2], min[2];
    scales_of_two<Format>(w[2 * pair], w[2 * pair + 1], scale, min);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const I lanes = half ? _mm512_shuffle_i64x2(order, second, 0xEE)
                           : _mm512_shuffle_i64x2(order, second, 0x44);
      I dot = _mm512_permutex2var_epi32(sums[2 * pair], lanes, sums[2 * pair + 1]);
      if constexpr (Format::kOffset != 0) dot = _mm512_add_epi32(dot, x.sum[half]);
      chains[pair] = fma(to_float(dot), mul(scale[half], x.scale[half]), chains[pair]);
      if constexpr (Format::kHasMin)
        chains[pair] = fma(min[half], x.scaled_sum[half], chains[pair]);
    }
  }
}

/// The weight rows n, n + apart, n + 2 apart and n + 3 apart times token t.
template <class Format>
void multiply_four(const MatmulTask& task, int64_t n, int64_t apart, int64_t t) {
  const uint8_t* w[kStreams];
  const auto* x = reinterpret_cast<const Chunk*>(x_row(task, t));
  for (int r = 0; r < kStreams; ++r) w[r] = task.w + (n + r * apart) * task.w_stride;
  F chains[2] = {zero(), zero()};
  const int64_t whole = task.k / kValues<Format>, left = task.k % kValues<Format>;
  for (int64_t c = 0; c < whole; ++c) {
    if (task.ahead > 0)
      for (const uint8_t* row : w)
        for (int64_t i = 0; i < kBytes<Format>; i += 64) prefetch(row + task.ahead + i);
    add_four<Format>(w, activations<Format>(x, c), chains);
#pragma GCC unroll 4
    for (int r = 0; r < kStreams; ++r) w[r] += kBytes<Format>;
  }
  if (left > 0) {  // missing blocks have scale zero
    alignas(64) uint8_t rest[kStreams][kBytes<Format>] = {};
    for (int r = 0; r < kStreams; ++r) {
      memcpy(rest[r], w[r], static_cast<size_t>(left / Format::kBlockValues * Format::kBlockBytes));
      w[r] = rest[r];
    }
    add_four<Format>(w, activations<Format>(x, whole), chains);
  }
  for (int r = 0; r < kStreams; ++r)
    y_row(task, t)[n + r * apart] = total(r % 2 ? _mm512_extractf32x8_ps(chains[r / 2], 1)
                                                : _mm512_castps512_ps256(chains[r / 2]));
}

}  // namespace runnel::cpu::RUNNEL_ISA
