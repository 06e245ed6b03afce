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

}  // namespace runnel::cpu::RUNNEL_ISA

#if RUNNEL_SIMD_BITS == 512
#include "backends/cpu/isa/tile_dots_avx512.h"
#else
#include "backends/cpu/isa/tile_dots_row.h"
#endif
