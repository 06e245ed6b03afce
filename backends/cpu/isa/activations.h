// What the row kernels of all widths share: how weights of one format meet rows of Chunks.
#pragma once
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {

/// Values of 16 groups, in blocks of the file.
template <class Format>
constexpr int64_t kValues = 16 * Format::kGroup;
template <class Format>
constexpr int64_t kBytes = kValues<Format> / Format::kBlockValues* Format::kBlockBytes;

#if RUNNEL_SIMD_BITS >= 256
/// The eight chains of a row with a token.
using Chains = __m256;
inline Chains no_chains() {
  return _mm256_setzero_ps();
}
inline float total(Chains chains) {
  const __m128 halves =
      _mm_add_ps(_mm256_castps256_ps128(chains), _mm256_extractf128_ps(chains, 1));
  const __m128 pairs = _mm_add_ps(halves, _mm_movehl_ps(halves, halves));
  return _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs)));
}
#endif

/// Weight rows read side by side, far apart: memory answers four streams faster than one.
constexpr int kStreams = 4;

/// Bytes of a packed panel's group: values, scales, perhaps minimums.
template <class Format>
constexpr int64_t kPanelGroupBytes = kPanelRows*(Format::kGroup + (Format::kHasMin ? 8 : 4));
/// Rows of a panel's blocks, where it has blocks, and bytes of a block's group.
constexpr int kBlockRows = 8;
template <class Format>
constexpr int64_t kBlockGroupBytes = kPanelGroupBytes<Format> / (kPanelRows / kBlockRows);

/// Part of a row of Chunks that a weight chunk multiplies.
struct Activations {
  const int8_t* q;
  const float* scale;  // per 32 values
  const int32_t* sum;  // per group
  const float* scaled_sum;
};
/// Formats with a function split() (AVX-512 only) give the nibbles of 4 groups in two registers,
/// first and second halves: as they are in memory, and with half the registers to gather.
template <class Format>
constexpr bool kIsSplit = requires {
  &Format::split;
};
/// Formats with a function pair() (AVX-512 only) give the first and second halves of the even
/// groups of 8, then of the odd ones: so they lie in memory, as low and high nibbles.
template <class Format>
constexpr bool kIsPaired = requires {
  &Format::pair;
};
#if RUNNEL_SIMD_BITS >= 256
/// Register i of a chunk's stored weights.
template <class Format>
inline I stored(const uint8_t* chunk, int i) {
  if constexpr (kIsSplit<Format>)
    return Format::split(chunk, i);
  else if constexpr (kIsPaired<Format>)
    return Format::pair(chunk, i);
  else
    return Format::values(chunk, i);
}
#endif
#if RUNNEL_SIMD_BITS == 512
/// Registers of a chunk's weights.
template <class Format>
constexpr int kWeightRegisters = static_cast<int>(kValues<Format> / 64);
/// The dots of all groups of a chunk; group g's is in lane g of dot_order().
template <class Format>
inline I sum_dots(const I* weight, const int8_t* q) {
  constexpr bool kHalves = kIsSplit<Format> || kIsPaired<Format>;
  constexpr int64_t kLane = 127 * Format::kMost * (kHalves ? 8 : 4);
  I dots[8];
  if constexpr (kHalves) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
      dots[i] = add_bytes(dot_bytes<true>(weight[2 * i], load_i8(q + 128 * i)), weight[2 * i + 1],
                          load_i8(q + 128 * i + 64));
    return sum_groups<16, kLane>(dots);
  } else {
#pragma GCC unroll 8
    for (int i = 0; i < kWeightRegisters<Format>; ++i)
      dots[i] = dot_bytes<true>(weight[i], load_i8(q + 64 * i));
    return sum_groups<Format::kGroup, kLane>(dots);
  }
}
template <class Format>
inline I dot_order() {
  return group_order < kIsSplit<Format> ? 16 : Format::kGroup, kIsPaired < Format >> ();
}
#endif
template <class Format>
inline Activations activations(const Chunk* row, int64_t chunk) {
  if constexpr (Format::kGroup == 32) {
    const Chunk& x = row[chunk];
    return {kIsSplit<Format>    ? x.split
            : kIsPaired<Format> ? x.pairs
                                : x.q,
            x.scale, x.sum, x.scaled_sum};
  }
  const int64_t half = chunk % 2;
  const Chunk& x = row[chunk / 2];
  return {x.q + 256 * half, x.scale + 8 * half, x.half_sum + 16 * half,
          x.scaled_half_sum + 16 * half};
}

}  // namespace runnel::cpu::RUNNEL_ISA
