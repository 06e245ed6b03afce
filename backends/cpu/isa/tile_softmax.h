// From scores of a block of 64 keys to weights, and from weights to integers. Cheaper than soften()
// of attention_tile.h, for here it takes about as long as the products.
#pragma once
#include "backends/cpu/isa/attention_tile.h"
#include "backends/cpu/isa/tile_dots.h"

namespace runnel::cpu::RUNNEL_ISA {

constexpr float kLog2E = 1.44269504088896341f;
constexpr int kBlockRegisters = kPage / kLanes;
// A block whose largest weight is below 1e-6 of the largest so far adds no values.
constexpr float kNegligible = -13.8155f;  // ln

/// 2^x for x <= 1, relative error below 3e-7; 0 below 2^-100, so that products with scales are
/// never denormal. NaN for NaN. Polynomial: interpolation of 2^x in [-1/2, 1/2] at Chebyshev nodes.
inline F power_below(F x) {
  const F least = set1(-100.0f), bounded = max(least, x), n = round(bounded), r = sub(bounded, n);
  F p = fma(set1(1.339086336e-3f), r, set1(9.676031918e-3f));
  p = fma(p, r, set1(5.550357114e-2f));
  p = fma(p, r, set1(2.402210749e-1f));
  p = fma(p, r, set1(6.931471880e-1f));
  p = fma(p, r, set1(1.0f));
  return zero_where_less(x, least, scale_by_power(p, n));
}

/// True when some lane is above `bound`.
inline bool any_above(F v, float bound) {
#if RUNNEL_SIMD_BITS == 512
  return _mm512_cmp_ps_mask(v, set1(bound), _CMP_GT_OQ) != 0;
#elif RUNNEL_SIMD_BITS == 256
  return _mm256_movemask_ps(_mm256_cmp_ps(v, set1(bound), _CMP_GT_OQ)) != 0;
#else
  return largest(v) > bound;
#endif
}

/// Sums of weights, 16 per row, and which rows have weights that count in this block.
struct BlockSums {
  float* lanes;  // [rows][16]
  bool* counts;  // [rows]
};

/// Raises the running maximum of row r to the largest of `most`. It seldom grows, so it is only
/// reduced to a number when it does.
inline void raise_to(const Tile& tile, const BlockSums& sums, int64_t r, F most) {
  tile.shrink[r] = 1.0f;
  if (!any_above(most, tile.maximum[r])) return;
  const float maximum = largest(most);
  float shrink[kLanes], *lanes = sums.lanes + r * 16;
  store(shrink, power_below(set1((tile.maximum[r] - maximum) * kLog2E)));
  tile.shrink[r] = shrink[0];
  tile.maximum[r] = maximum;
  for (int i = 0; i < 16; i += kLanes) store(lanes + i, mul(load(lanes + i), set1(shrink[0])));
}

/// Turns the scores of row r with a block into weights relative to its running maximum.
inline void soften_block(const Tile& tile, const BlockSums& sums, int64_t r) {
  float *weight = tile.weight + r * kPage, *lanes = sums.lanes + r * 16;
  F w[kBlockRegisters];
  F most = w[0] = load(weight);
#pragma GCC unroll 16
  for (int i = 1; i < kBlockRegisters; ++i) most = max(w[i] = load(weight + i * kLanes), most);
  raise_to(tile, sums, r, most);
  sums.counts[r] = any_above(most, tile.maximum[r] + kNegligible);
  const F log2e = set1(kLog2E), offset = set1(-kLog2E * tile.maximum[r]);
#pragma GCC unroll 16
  for (int i = 0; i < kBlockRegisters; ++i) {
    w[i] = power_below(fma(w[i], log2e, offset));
    store(weight + i * kLanes, w[i]);
  }
  constexpr int kSums = 16 / kLanes;
#pragma GCC unroll 16
  for (int i = kSums; i < kBlockRegisters; ++i) w[i % kSums] = add(w[i % kSums], w[i]);
#pragma GCC unroll 4
  for (int i = 0; i < kSums; ++i) store(lanes + i * kLanes, add(load(lanes + i * kLanes), w[i]));
}

/// The same for keys [first, last), in whole registers.
inline void soften_keys(
    const Tile& tile, const BlockSums& sums, int64_t r, int64_t first, int64_t last) {
  float *weight = tile.weight + r * kPage, *lanes = sums.lanes + r * 16;
  F most = load(weight + first);
  for (int64_t i = first + kLanes; i < last; i += kLanes) most = max(load(weight + i), most);
  raise_to(tile, sums, r, most);
  const F log2e = set1(kLog2E), offset = set1(-kLog2E * tile.maximum[r]);
  for (int64_t i = first; i < last; i += kLanes) {
    const F w = power_below(fma(load(weight + i), log2e, offset));
    store(weight + i, w);
    store(lanes + i % 16, add(load(lanes + i % 16), w));
  }
}

/// Brings the sums of row r together in its total.
inline void settle(const Tile& tile, const BlockSums& sums, int64_t r) {
  F all = load(sums.lanes + r * 16);
  for (int i = kLanes; i < 16; i += kLanes) all = add(all, load(sums.lanes + r * 16 + i));
  tile.total[r] = sum(all);
}

/// The scales of the values of keys [lo, hi) as shares of the largest; 0 for other keys.
struct ValueScales {
  float share[kPage];
  float top;
};

inline ValueScales share_scales(const float* scales, int64_t lo, int64_t hi) {
  ValueScales shared;
  F most = zero();
  for (int64_t i = 0; i < kPage; i += kLanes) {
    const F kept = keep_range(load(scales + i), lo - i, hi - i, zero());
    store(shared.share + i, kept);
    most = max(kept, most);
  }
  shared.top = largest(most);
  const F inverse = set1(shared.top > 0.0f ? 1.0f / shared.top : 0.0f);
  for (int64_t i = 0; i < kPage; i += kLanes)
    store(shared.share + i, mul(load(shared.share + i), inverse));
  return shared;
}

/// Weights of row r times the scales of the values, as integers; their unit is that of the largest
/// in the block: what follows a heavy first token may be light as a whole.
template <bool fine>
inline void quantize_block(const Tile& tile,
                           const ValueScales& scales,
                           int64_t r,
                           const WeightBytes& to) {
  const float* weight = tile.weight + r * kPage;
  F w[kBlockRegisters], most = zero();
#pragma GCC unroll 16
  for (int i = 0; i < kBlockRegisters; ++i) {
    w[i] = mul(load(weight + i * kLanes), load(scales.share + i * kLanes));
    most = max(w[i], most);
  }
  const float top = largest(most);
  if (!(top > 0.0f)) return;
  constexpr float kLimit = fine ? kFineWeight : kCoarseWeight;
  to.scale[r] = top * scales.top * (1.0f / kLimit);
  const F factor = set1(kLimit / top);
#pragma GCC unroll 16
  for (int i = 0; i < kBlockRegisters; ++i) w[i] = mul(w[i], factor);
  store_weights<fine>(w, to.bytes + r * kPairBytes);
}

}  // namespace runnel::cpu::RUNNEL_ISA
