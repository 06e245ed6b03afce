// Integer dot products with unpacked tiles (16 vectors of 64 levels each; layout: quant/kv_tile.h).
// Sums are exact in 32 bits, so their order is free and every level gives the same numbers.
//   keys:   four bytes of a vector are four channels of one token: 16 tokens side by side;
//   values: four bytes are four tokens of one channel: 16 channels side by side.
#pragma once
#include "backends/cpu/isa/bytes.h"
#include "backends/cpu/isa/tile_task.h"

namespace runnel::cpu::RUNNEL_ISA {

/// Rows taken together: 4 x 4 of 32 registers.
constexpr int kKvRows = RUNNEL_SIMD_BITS == 512 ? 4 : 1;
/// What keys are unpacked with: unsigned bytes times signed ones, else both signed.
constexpr uint8_t kKeyOffset = RUNNEL_SIMD_BITS == 512 ? 128 : 0;

/// Whole numbers to bytes: all of them below 256, or (fine) below 65536 as high and low bytes.
inline void store_weights(F v, bool fine, uint8_t* high, uint8_t* low) {
#if RUNNEL_SIMD_BITS == 512
  const I ints = _mm512_cvtps_epi32(v);
  const I top = fine ? _mm512_srli_epi32(ints, 8) : ints;
  _mm_storeu_si128(reinterpret_cast<__m128i*>(high), _mm512_cvtepi32_epi8(top));
  if (fine) _mm_storeu_si128(reinterpret_cast<__m128i*>(low), _mm512_cvtepi32_epi8(ints));
#else
  float lanes[kLanes];
  store(lanes, v);
  for (int i = 0; i < kLanes; ++i) {
    const auto value = static_cast<int32_t>(lanes[i]);
    high[i] = static_cast<uint8_t>(fine ? value >> 8 : value);
    low[i] = static_cast<uint8_t>(value);
  }
#endif
}

/// Rows of queries as integers, for one part of 64 channels.
struct Queries {
  const int8_t *high, *low;  // [rows][stride]; low: 128 times finer, where there is one
  int64_t stride;
  const int32_t* sum;  // of each row, sum_stride apart
  int64_t sum_stride;
  const float* scale;  // [rows]
  bool first_part;     // else scores are added to those of the parts before
};

/// Rows of weights of a block as integers.
struct Weights {
  const uint8_t *high, *low;    // [rows][64]; low: 256 times finer, where there is one
  const float *scale, *shrink;  // [rows]
  int64_t out_stride;
};

inline int32_t four_bytes(const void* p) {
  int32_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

#if RUNNEL_SIMD_BITS == 512

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

#elif RUNNEL_SIMD_BITS == 256

template <int R>
inline void add_key_dots(const uint8_t* keys, const int8_t* q, int64_t q_stride, int32_t* dots) {
  static_assert(R == 1);
  (void)q_stride;
  const I ones = _mm256_set1_epi16(1);
  I acc[8];
  for (int i = 0; i < 8; ++i) acc[i] = load_ints(dots + 8 * i);
  for (int64_t v = 0; v < 16; ++v) {
    const I query = _mm256_set1_epi32(four_bytes(q + 4 * v));
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const I key = load_bytes(keys + i / 2 * kKvCodes + v * 64 + i % 2 * 32);
      // Both at most 127 in size: pairs fit 16 bits.
      const I pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(key), _mm256_sign_epi8(query, key));
      acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(pairs, ones));
    }
  }
  for (int i = 0; i < 8; ++i) _mm256_storeu_si256(reinterpret_cast<__m256i*>(dots + 8 * i), acc[i]);
}

template <int R>
inline void value_sums(const uint8_t* values,
                       const uint8_t* weights,
                       int64_t stride,
                       int32_t* sums) {
  static_assert(R == 1);
  (void)stride;
  const I ones = _mm256_set1_epi16(1), high = _mm256_set1_epi16(128);
  I acc[8];
  for (I& lanes : acc) lanes = _mm256_setzero_si256();
  for (int64_t quad = 0; quad < 16; ++quad) {
    const uint8_t* at = values + quad / 4 * kKvCodes + quad % 4 * 64;
    const I weight = _mm256_set1_epi32(four_bytes(weights + 4 * quad));
    // Above 127 the sums of pairs would not fit 16 bits: 128 of a weight are added apart.
    const I rest = _mm256_and_si256(weight, _mm256_set1_epi8(127));
    const I top = _mm256_and_si256(_mm256_srli_epi16(weight, 7), _mm256_set1_epi8(1));
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const I value = load_bytes(at + i / 2 * 256 + i % 2 * 32);
      acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(_mm256_maddubs_epi16(rest, value), ones));
      acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(_mm256_maddubs_epi16(top, value), high));
    }
  }
  for (int i = 0; i < 8; ++i) _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + 8 * i), acc[i]);
}

#else

template <int R>
inline void add_key_dots(const uint8_t* keys, const int8_t* q, int64_t q_stride, int32_t* dots) {
  static_assert(R == 1);
  (void)q_stride;
  for (int64_t tile = 0; tile < kBlockTiles; ++tile)
    for (int64_t v = 0; v < 16; ++v) {
      const auto* key = reinterpret_cast<const int8_t*>(keys + tile * kKvCodes + v * 64);
      for (int64_t l = 0; l < 16; ++l)
        for (int64_t c = 0; c < 4; ++c) dots[tile * 16 + l] += key[4 * l + c] * q[4 * v + c];
    }
}

template <int R>
inline void value_sums(const uint8_t* values,
                       const uint8_t* weights,
                       int64_t stride,
                       int32_t* sums) {
  static_assert(R == 1);
  (void)stride;
  memset(sums, 0, 64 * sizeof *sums);
  for (int64_t quad = 0; quad < 16; ++quad)
    for (int64_t group = 0; group < 4; ++group) {
      const auto* value = reinterpret_cast<const int8_t*>(values + quad / 4 * kKvCodes +
                                                          (4 * group + quad % 4) * 64);
      for (int64_t l = 0; l < 16; ++l)
        for (int64_t t = 0; t < 4; ++t)
          sums[group * 16 + l] += value[4 * l + t] * weights[4 * quad + t];
    }
}

#endif

#if RUNNEL_SIMD_BITS != 512

template <int R, bool fine>
inline void score_block(const uint8_t* keys, const Queries& q, const float* scales, float* scores) {
  int32_t dots[64] = {};
  add_key_dots<R>(keys, q.high, q.stride, dots);
  if constexpr (fine) {
    for (int32_t& dot : dots) dot *= 128;
    add_key_dots<R>(keys, q.low, q.stride, dots);
  }
  float as_float[64];
  for (int i = 0; i < 64; ++i) as_float[i] = static_cast<float>(dots[i]);
  const F q_scale = set1(q.scale[0]);
  for (int i = 0; i < 64; i += kLanes) {
    const F score = mul(mul(load(as_float + i), load(scales + i)), q_scale);
    store(scores + i, q.first_part ? score : add(load(scores + i), score));
  }
}

template <int R, bool fine>
inline void add_block(const uint8_t* values, const Weights& w, float* out) {
  int32_t sums[64];
  value_sums<R>(values, w.high, 64, sums);
  if constexpr (fine) {
    int32_t low[64];
    value_sums<R>(values, w.low, 64, low);
    for (int i = 0; i < 64; ++i) sums[i] = sums[i] * 256 + low[i];
  }
  float as_float[64];
  for (int i = 0; i < 64; ++i) as_float[i] = static_cast<float>(sums[i]);
  const F shrink = set1(w.shrink[0]), scale = set1(w.scale[0]);
  for (int i = 0; i < 64; i += kLanes)
    store(out + i, fma(load(as_float + i), scale, mul(load(out + i), shrink)));
}

#endif

}  // namespace runnel::cpu::RUNNEL_ISA
