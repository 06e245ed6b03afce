// Tile products with AVX2, up to four rows at a time. Fine rows: pairs of 16-bit integers; bytes
// are widened on the way, the even and the odd ones of a vector apart, so that a lane's pairs
// belong to one token (one channel). Coarse rows: bytes, one side of a product without sign and
// both at most 127 in size, so that the instruction's 16-bit sums of two products hold.
#pragma once
#include "backends/cpu/isa/tile_dots.h"

namespace runnel::cpu::RUNNEL_ISA {

/// Rows taken together: 4 x 2 sums, four half vectors and a row's pairs in 16 registers.
template <bool fine>
constexpr int kKvRows = 4;
/// What keys are unpacked with.
constexpr uint8_t kKeyOffset = 0;
constexpr float kFineQuery = 16256.0f, kCoarseQuery = 127.0f;
constexpr float kFineWeight = 32767.0f, kCoarseWeight = 127.0f;

/// Four values as two pairs, even ones and odd ones; or as bytes.
inline void store_query(const int32_t* value, bool fine, uint8_t* to) {
  int16_t pairs[64];
  for (int i = 0; i < 64; i += 4)
    for (int j = 0; j < 4; ++j) {
      pairs[i + j / 2 + j % 2 * 2] = static_cast<int16_t>(value[i + j]);
      if (!fine) to[i + j] = static_cast<uint8_t>(value[i + j]);
    }
  if (fine) memcpy(to, pairs, sizeof pairs);
}

/// Rounds to pairs as above, or to bytes. Packing works within 128-bit lanes: put in order after
/// it.
template <bool fine>
inline void store_weights(const F (&v)[8], uint8_t* to) {
  I words[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    words[i] = _mm256_packs_epi32(_mm256_cvtps_epi32(v[2 * i]), _mm256_cvtps_epi32(v[2 * i + 1]));
  if constexpr (fine) {
    const I order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
      store_bytes(to + 32 * i,
                  _mm256_permute4x64_epi64(_mm256_shuffle_epi8(words[i], order), 0xD8));
  } else {
    const I order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i)
      store_bytes(to + 32 * i, _mm256_permutevar8x32_epi32(
                                   _mm256_packs_epi16(words[2 * i], words[2 * i + 1]), order));
  }
}

/// Sums of R rows with 16 tokens, or 16 channels.
template <int R>
struct Sums {
  I of[R][2];
  inline Sums() {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) of[r][0] = of[r][1] = _mm256_setzero_si256();
  }
};

/// Adds the products of a vector with R rows of pairs.
template <int R>
[[gnu::always_inline]] inline void add_pair_rows(const uint8_t* vector,
                                                 const uint8_t* pairs,
                                                 int64_t stride,
                                                 Sums<R>& sums) {
  I even[2], odd[2];
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const I bytes = load_bytes(vector + 32 * half);
    even[half] = _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8);
    odd[half] = _mm256_srai_epi16(bytes, 8);
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const I first = _mm256_set1_epi32(four_bytes(pairs + r * stride));
    const I last = _mm256_set1_epi32(four_bytes(pairs + r * stride + 4));
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      I& sum = sums.of[r][half];
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(even[half], first));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(odd[half], last));
    }
  }
}

/// The same with rows of bytes: with sign (the sign of the vector goes over to them), or without.
template <int R, bool rows_signed>
[[gnu::always_inline]] inline void add_byte_rows(const uint8_t* vector,
                                                 const uint8_t* bytes,
                                                 int64_t stride,
                                                 Sums<R>& sums) {
  const I half[2] = {load_bytes(vector), load_bytes(vector + 32)}, ones = _mm256_set1_epi16(1);
  const I size[2] = {_mm256_abs_epi8(half[0]), _mm256_abs_epi8(half[1])};
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const I row = _mm256_set1_epi32(four_bytes(bytes + r * stride));
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const I pairs = rows_signed ? _mm256_maddubs_epi16(size[h], _mm256_sign_epi8(row, half[h]))
                                  : _mm256_maddubs_epi16(row, half[h]);
      sums.of[r][h] = _mm256_add_epi32(sums.of[r][h], _mm256_madd_epi16(pairs, ones));
    }
  }
}

/// Scores of R rows of queries with the keys of a block, to scores[r][64] (or added to them).
template <int R, bool fine, bool in_page>
inline void score_block(
    const uint8_t* keys, Ahead& ahead, const Queries& q, const float* scales, float* scores) {
  for (int t = 0; t < 4; ++t) {
    ahead.fetch();
    Sums<R> sums;
#pragma GCC unroll 2
    for (int v = 0; v < 16; ++v) {
      const uint8_t* key = keys + t * kKvCodes + v * 64;
      if constexpr (fine)
        add_pair_rows<R>(key, q.row + 8 * v, q.stride, sums);
      else
        add_byte_rows<R, true>(key, q.row + 4 * v, q.stride, sums);
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const int at = t * 16 + half * 8;
        const F dot = to_float(sums.of[r][half]);
        const F score = mul(mul(dot, load(scales + at)), set1(q.scale[r]));
        float* to = scores + r * 64 + at;
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
  for (int c = 0; c < 4; ++c) {
    ahead.fetch();
    Sums<R> sums;
    for (int tile = 0; tile < kBlockTiles; ++tile)
#pragma GCC unroll 2
      for (int quad = 0; quad < 4; ++quad) {
        const uint8_t* value = values + tile * kKvCodes + c * 256 + quad * 64;
        const uint8_t* weights = w.bytes + (4 * tile + quad) * (fine ? 8 : 4);
        if constexpr (fine)
          add_pair_rows<R>(value, weights, kPairBytes, sums);
        else
          add_byte_rows<R, false>(value, weights, kPairBytes, sums);
      }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        float* to = out + r * out_stride + c * 16 + half * 8;
        const F added = mul(load(to), set1(shrinks[r]));
        store(to, fma(to_float(sums.of[r][half]), set1(w.scale[r]), added));
      }
  }
}

}  // namespace runnel::cpu::RUNNEL_ISA
