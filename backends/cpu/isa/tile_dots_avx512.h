// Tile products with AVX-512 VNNI: four rows at a time, from bytes to scores or outputs in
// registers.
#pragma once
#include "backends/cpu/isa/tile_dots.h"

namespace runnel::cpu::RUNNEL_ISA {

/// Scores of R rows of queries with the keys of a block, to scores[r][64] (or added to them).
/// `high`, `low`: queries [r][stride] in two bytes, or one; offset[r]: what kKeyOffset adds.
template <int R, bool fine>
inline void score_block(const uint8_t* keys, const Queries& q, const float* scales, float* scores) {
  I acc[R][4];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int t = 0; t < 4; ++t) acc[r][t] = _mm512_setzero_si512();
  const auto add_products = [&](const int8_t* bytes) {
    for (int64_t v = 0; v < 16; ++v) {
      I key[4];
#pragma GCC unroll 4
      for (int t = 0; t < 4; ++t) key[t] = _mm512_loadu_si512(keys + t * kKvCodes + v * 64);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const I query = _mm512_set1_epi32(four_bytes(bytes + r * q.stride + 4 * v));
#pragma GCC unroll 4
        for (int t = 0; t < 4; ++t) acc[r][t] = _mm512_dpbusd_epi32(acc[r][t], key[t], query);
      }
    }
  };
  add_products(q.high);
  if constexpr (fine) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int t = 0; t < 4; ++t) acc[r][t] = _mm512_slli_epi32(acc[r][t], 7);
    add_products(q.low);
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const I offset = _mm512_set1_epi32(kKeyOffset * q.sum[r * q.sum_stride]);
    const F q_scale = set1(q.scale[r]);
#pragma GCC unroll 4
    for (int t = 0; t < 4; ++t) {
      float* to = scores + r * 64 + t * 16;
      const F dot = to_float(_mm512_sub_epi32(acc[r][t], offset));
      const F score = mul(mul(dot, load(scales + t * 16)), q_scale);
      store(to, q.first_part ? score : add(load(to), score));
    }
  }
}

/// out[r][64 channels] = out * shrink + scale * (weights of row r with a block's values).
template <int R, bool fine>
inline void add_block(const uint8_t* values, const Weights& w, float* out) {
  I acc[R][4];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) acc[r][c] = _mm512_setzero_si512();
  const auto add_products = [&](const uint8_t* bytes) {
    for (int64_t quad = 0; quad < 16; ++quad) {
      const uint8_t* at = values + quad / 4 * kKvCodes + quad % 4 * 64;
      I value[4];
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) value[c] = _mm512_loadu_si512(at + c * 256);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const I weight = _mm512_set1_epi32(four_bytes(bytes + r * 64 + 4 * quad));
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c) acc[r][c] = _mm512_dpbusd_epi32(acc[r][c], weight, value[c]);
      }
    }
  };
  add_products(w.high);
  if constexpr (fine) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) acc[r][c] = _mm512_slli_epi32(acc[r][c], 8);
    add_products(w.low);
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const F shrink = set1(w.shrink[r]), scale = set1(w.scale[r]);
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      float* to = out + r * w.out_stride + c * 16;
      store(to, fma(to_float(acc[r][c]), scale, mul(load(to), shrink)));
    }
  }
}

}  // namespace runnel::cpu::RUNNEL_ISA
