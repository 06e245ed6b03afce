// Tile products with AVX-512 VNNI: up to four rows at a time, from bytes to scores or outputs in
// registers. Loops over the 16 vectors are unrolled as a whole: g++ 12 otherwise copies every sum
// from register to register in each turn, which takes longer than the products.
#pragma once
#include "backends/cpu/isa/tile_dots.h"

namespace runnel::cpu::RUNNEL_ISA {

/// Rows taken together: 4 x 4 sums, 4 vectors and a row's bytes in 32 registers. Fine rows have
/// sums of both bytes.
template <bool fine>
constexpr int kKvRows = fine ? 2 : 4;
/// What keys are unpacked with: the instruction wants one side without sign.
constexpr uint8_t kKeyOffset = 128;
constexpr float kFineQuery = 16256.0f, kCoarseQuery = 127.0f;  // 127 * 128
constexpr float kFineWeight = 65535.0f, kCoarseWeight = 255.0f;

/// Whole numbers up to kFineQuery as high * 128 + low, or up to kCoarseQuery.
inline void store_query(const int32_t* value, bool fine, uint8_t* to) {
  for (int i = 0; i < 64; ++i) {
    const int32_t high = fine ? (value[i] + 64) >> 7 : value[i];
    to[i] = static_cast<uint8_t>(high);
    to[64 + i] = static_cast<uint8_t>(fine ? value[i] - 128 * high : 0);
  }
}

/// Rounds to high * 256 + low, or to one byte; packs four at a time to weight_place().
template <bool fine>
inline void store_weights(const F (&v)[4], uint8_t* to) {
  I whole[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) whole[i] = _mm512_cvtps_epi32(v[i]);
  const I first = _mm512_packus_epi32(whole[0], whole[1]);
  const I last = _mm512_packus_epi32(whole[2], whole[3]);
  if constexpr (!fine) return _mm512_storeu_si512(to, _mm512_packus_epi16(first, last));
  const I low = _mm512_set1_epi16(255);
  const I high_bytes = _mm512_packus_epi16(_mm512_srli_epi16(first, 8), _mm512_srli_epi16(last, 8));
  const I low_bytes =
      _mm512_packus_epi16(_mm512_and_si512(first, low), _mm512_and_si512(last, low));
  _mm512_storeu_si512(to, high_bytes);
  _mm512_storeu_si512(to + 64, low_bytes);
}
/// Where packing within 128-bit lanes leaves four weights.
constexpr int weight_place(int quad) {
  return 4 * (4 * (quad % 4) + quad / 4);
}

/// Four sums of R rows, of their high bytes and (fine) of their low ones.
template <int R, bool fine>
struct Sums {
  static constexpr int kPlanes = fine ? 2 : 1;
  I of[R][kPlanes][4];
  inline Sums() {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int plane = 0; plane < kPlanes; ++plane)
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) of[r][plane][i] = _mm512_setzero_si512();
  }
  /// Both planes together. `unit`: of high bytes.
  template <int unit>
  inline I whole(int r, int i) const {
    if constexpr (!fine) return of[r][0][i];
    return _mm512_add_epi32(_mm512_slli_epi32(of[r][0][i], __builtin_ctz(unit)), of[r][1][i]);
  }
};

/// Scores of R rows of queries with the keys of a block, to scores[r][64] (or added to them).
template <int R, bool fine, bool in_page>
inline void score_block(
    const uint8_t* keys, Ahead& ahead, const Queries& q, const float* scales, float* scores) {
  Sums<R, fine> sums;
  const I flip = _mm512_set1_epi8(-128);  // adds 128
#pragma GCC unroll 16
  for (int v = 0; v < 16; ++v) {
    if (v % 4 == 0) {
      asm volatile("");  // what is fetched stays where it is
      ahead.fetch();
    }
    I key[4];
#pragma GCC unroll 4
    for (int t = 0; t < 4; ++t) {
      key[t] = _mm512_loadu_si512(keys + t * kKvCodes + v * 64);
      if (in_page) key[t] = _mm512_xor_si512(key[t], flip);
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int plane = 0; plane < sums.kPlanes; ++plane) {
        const I query = _mm512_set1_epi32(four_bytes(q.row + r * q.stride + 64 * plane + 4 * v));
#pragma GCC unroll 4
        for (int t = 0; t < 4; ++t)
          sums.of[r][plane][t] = _mm512_dpbusd_epi32(sums.of[r][plane][t], key[t], query);
      }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const I offset = _mm512_set1_epi32(kKeyOffset * q.sum[r * q.sum_stride]);
    const F q_scale = set1(q.scale[r]);
#pragma GCC unroll 4
    for (int t = 0; t < 4; ++t) {
      float* to = scores + r * 64 + t * 16;
      const F dot = to_float(_mm512_sub_epi32(sums.template whole<128>(r, t), offset));
      const F score = mul(mul(dot, load(scales + t * 16)), q_scale);
      store(to, q.first_part ? score : add(load(to), score));
    }
  }
}

/// out[r][64 channels] = out * shrink + scale * (weights of row r with a block's values).
template <int R, bool fine>
inline void add_block(const uint8_t* values,
                      Ahead& ahead,
                      const WeightBytes& w,
                      const float* shrinks,
                      float* out,
                      int64_t out_stride) {
  Sums<R, fine> sums;
#pragma GCC unroll 16
  for (int quad = 0; quad < 16; ++quad) {
    const int at = quad / 4 * static_cast<int>(kKvCodes) + quad % 4 * 64;
    if (quad % 4 == 0) {
      asm volatile("");  // as above
      ahead.fetch();
    }
    I value[4];
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      value[c] = _mm512_loadu_si512(values + at + c * 256);
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int plane = 0; plane < sums.kPlanes; ++plane) {
        const uint8_t* bytes = w.bytes + r * kPairBytes + 64 * plane;
        const I weight = _mm512_set1_epi32(four_bytes(bytes + weight_place(quad)));
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c)
          sums.of[r][plane][c] = _mm512_dpbusd_epi32(sums.of[r][plane][c], weight, value[c]);
      }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const F shrink = set1(shrinks[r]), scale = set1(w.scale[r]);
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      float* to = out + r * out_stride + c * 16;
      store(to, fma(to_float(sums.template whole<256>(r, c)), scale, mul(load(to), shrink)));
    }
  }
}

}  // namespace runnel::cpu::RUNNEL_ISA
