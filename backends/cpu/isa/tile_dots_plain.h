// Tile products as plain loops, one row at a time.
#pragma once
#include "backends/cpu/isa/tile_dots.h"

namespace runnel::cpu::RUNNEL_ISA {

template <bool fine>
constexpr int kKvRows = 1;
constexpr uint8_t kKeyOffset = 0;
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

/// Rounds to high * 256 + low, or to one byte.
template <bool fine>
inline void store_weights(const F (&v)[64 / kLanes], uint8_t* to) {
  for (int i = 0; i < 64 / kLanes; ++i) {
    float lanes[kLanes];
    store(lanes, round(v[i]));
    for (int j = 0; j < kLanes; ++j) {
      const auto value = static_cast<int32_t>(lanes[j]);
      to[i * kLanes + j] = static_cast<uint8_t>(fine ? value >> 8 : value);
      to[64 + i * kLanes + j] = static_cast<uint8_t>(value);
    }
  }
}

inline void add_key_dots(const uint8_t* keys, const uint8_t* q, int32_t* dots) {
  for (int64_t tile = 0; tile < kBlockTiles; ++tile)
    for (int64_t v = 0; v < 16; ++v) {
      const auto* key = reinterpret_cast<const int8_t*>(keys + tile * kKvCodes + v * 64);
      const auto* query = reinterpret_cast<const int8_t*>(q + 4 * v);
      for (int64_t l = 0; l < 16; ++l)
        for (int64_t c = 0; c < 4; ++c) dots[tile * 16 + l] += key[4 * l + c] * query[c];
    }
}

inline void add_value_sums(const uint8_t* values, const uint8_t* weights, int32_t* sums) {
  for (int64_t quad = 0; quad < 16; ++quad)
    for (int64_t group = 0; group < 4; ++group) {
      const auto* value = reinterpret_cast<const int8_t*>(values + quad / 4 * kKvCodes +
                                                          (4 * group + quad % 4) * 64);
      for (int64_t l = 0; l < 16; ++l)
        for (int64_t t = 0; t < 4; ++t)
          sums[group * 16 + l] += value[4 * l + t] * weights[4 * quad + t];
    }
}

/// Scores of a row of queries with the keys of a block, to scores[64] (or added to them).
template <int R, bool fine, bool in_page>
inline void score_block(
    const uint8_t* keys, Ahead& ahead, const Queries& q, const float* scales, float* scores) {
  static_assert(R == 1);
  ahead.fetch();
  int32_t dots[64] = {};
  add_key_dots(keys, q.row, dots);
  if constexpr (fine) {
    for (int32_t& dot : dots) dot *= 128;
    add_key_dots(keys, q.row + 64, dots);
  }
  float as_float[64];
  for (int i = 0; i < 64; ++i) as_float[i] = static_cast<float>(dots[i]);
  const F q_scale = set1(q.scale[0]);
  for (int i = 0; i < 64; i += kLanes) {
    const F score = mul(mul(load(as_float + i), load(scales + i)), q_scale);
    store(scores + i, q.first_part ? score : add(load(scores + i), score));
  }
}

/// out[64 channels] = out * shrink + scale * (weights of the row with a block's values).
template <int R, bool fine>
inline void add_block(const uint8_t* values,
                      Ahead& ahead,
                      const WeightBytes& w,
                      const float* shrinks,
                      float* out,
                      int64_t out_stride) {
  static_assert(R == 1);
  (void)out_stride;
  ahead.fetch();
  int32_t sums[64] = {};
  add_value_sums(values, w.bytes, sums);
  if constexpr (fine) {
    for (int32_t& s : sums) s *= 256;
    add_value_sums(values, w.bytes + 64, sums);
  }
  float as_float[64];
  for (int i = 0; i < 64; ++i) as_float[i] = static_cast<float>(sums[i]);
  const F shrink = set1(shrinks[0]), scale = set1(w.scale[0]);
  for (int i = 0; i < 64; i += kLanes)
    store(out + i, fma(load(as_float + i), scale, mul(load(out + i), shrink)));
}

}  // namespace runnel::cpu::RUNNEL_ISA
