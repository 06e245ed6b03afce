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

inline int32_t four_bytes(const void* p) {
  int32_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

#if RUNNEL_SIMD_BITS == 512

/// dots[r][64 tokens] += of q[r] (64 signed bytes, `q_stride` apart) with a block's keys.
template <int R>
inline void add_key_dots(const uint8_t* keys, const int8_t* q, int64_t q_stride, int32_t* dots) {
  I acc[R][4];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int t = 0; t < 4; ++t) acc[r][t] = _mm512_loadu_si512(dots + r * 64 + t * 16);
  for (int64_t v = 0; v < 16; ++v) {
    I key[4];
#pragma GCC unroll 4
    for (int t = 0; t < 4; ++t) key[t] = _mm512_loadu_si512(keys + t * kKvCodes + v * 64);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const I query = _mm512_set1_epi32(four_bytes(q + r * q_stride + 4 * v));
#pragma GCC unroll 4
      for (int t = 0; t < 4; ++t) acc[r][t] = _mm512_dpbusd_epi32(acc[r][t], key[t], query);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int t = 0; t < 4; ++t) _mm512_storeu_si512(dots + r * 64 + t * 16, acc[r][t]);
}

/// sums[r][64 channels] = of weights[r] (64 unsigned bytes, `stride` apart) with a block's values.
template <int R>
inline void value_sums(const uint8_t* values,
                       const uint8_t* weights,
                       int64_t stride,
                       int32_t* sums) {
  I acc[R][4];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) acc[r][c] = _mm512_setzero_si512();
  for (int64_t quad = 0; quad < 16; ++quad) {
    const uint8_t* at = values + quad / 4 * kKvCodes + quad % 4 * 64;
    I value[4];
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) value[c] = _mm512_loadu_si512(at + c * 256);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const I weight = _mm512_set1_epi32(four_bytes(weights + r * stride + 4 * quad));
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) acc[r][c] = _mm512_dpbusd_epi32(acc[r][c], weight, value[c]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) _mm512_storeu_si512(sums + r * 64 + c * 16, acc[r][c]);
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

}  // namespace runnel::cpu::RUNNEL_ISA
