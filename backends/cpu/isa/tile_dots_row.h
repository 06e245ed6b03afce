// Tile products of one row at a time: AVX2, or plain loops.
#pragma once
#include "backends/cpu/isa/tile_dots.h"

namespace runnel::cpu::RUNNEL_ISA {

#if RUNNEL_SIMD_BITS == 256

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

}  // namespace runnel::cpu::RUNNEL_ISA
