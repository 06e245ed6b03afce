// Integer dot products with tiles (16 vectors of 64 levels each; layout: quant/kv_tile.h). Sums are
// exact in 32 bits, so their order is free.
//   keys:   four bytes of a vector are four channels of one token: 16 tokens side by side;
//   values: four bytes are four tokens of one channel: 16 channels side by side.
// Queries and weights have two bytes per value: high and low ones apart, the low ones used only
// where the format is finer than one byte's rounding (`fine`), or 16-bit integers.
#pragma once
#include "backends/cpu/isa/bytes.h"
#include "backends/cpu/isa/tile_task.h"

namespace runnel::cpu::RUNNEL_ISA {

/// Bytes of 64 queries or weights.
constexpr int64_t kPairBytes = 128;

/// Rows of queries as integers, for one part of 64 channels.
struct Queries {
  const uint8_t* row;  // kPairBytes
  int64_t stride;      // bytes from row to row
  const int32_t* sum;  // of each row, sum_stride apart
  int64_t sum_stride;  // also: parts of a row
  const float* scale;  // [rows]
  bool first_part;     // else scores are added to those of the parts before
};

/// Rows of weights of a block as integers.
struct WeightBytes {
  uint8_t* bytes;  // [rows][kPairBytes]
  float* scale;    // [rows]
};

/// Fetches the next page's blocks little by little between the products of this one: more requests
/// than a core can have under way hold up its own loads.
struct Ahead {
  const uint8_t *at, *end;      // of the block being fetched
  const uint8_t *then, *until;  // of the one after it
  int lines;                    // per call

  /// Always inlined: as a function of its own, g++ takes a request for something without effect.
  [[gnu::always_inline]] inline void fetch() {
    for (int i = 0; i < lines; ++i, at += 64) {
      if (at >= end) {
        at = then;
        end = then = until;
        if (at >= end) return;
      }
      __builtin_prefetch(at, 0, 2);
    }
  }
};

inline int32_t four_bytes(const void* p) {
  int32_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

}  // namespace runnel::cpu::RUNNEL_ISA

#if RUNNEL_SIMD_BITS == 512
#include "backends/cpu/isa/tile_dots_avx512.h"
#elif RUNNEL_SIMD_BITS == 256
#include "backends/cpu/isa/tile_dots_avx2.h"
#else
#include "backends/cpu/isa/tile_dots_plain.h"
#endif
