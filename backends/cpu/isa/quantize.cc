// Activations to int8 with one f32 scale per 32 values (largest magnitude / 127), rounded to
// nearest, with the sums that take weight offsets and minimums into account; and their arrangement
// in tiles for packed weights.
#include <float.h>

#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {
namespace {

#if RUNNEL_SIMD_BITS >= 256
// As many groups of 32 as a register has lanes at a time, so that what is done once a group is done
// in lanes: per 16 values, with 512 bits, 16 instructions.
constexpr int64_t kTogether = kLanes;

// The groups [first, first + kTogether) of a chunk.
inline void quantize_groups(const float* x, int64_t first, Chunk* out) {
  constexpr int64_t kRegister = 4 * kLanes;  // int8 values
  F most[kLanes];
#pragma GCC unroll 16
  for (int g = 0; g < kLanes; ++g) {
    most[g] = zero();  // max() passes over NaN
#pragma GCC unroll 4
    for (int64_t i = 0; i < 32; i += kLanes) most[g] = max(abs(load(x + 32 * g + i)), most[g]);
  }
  const F scale = div(largest_of_each(most), set1(127.0f));
  alignas(64) float inverse[kLanes];
  store(inverse, zero_where_less(scale, set1(FLT_TRUE_MIN), div(set1(1.0f), scale)));
  store(out->scale + first, scale);
  I q[8], dots[8];
#pragma GCC unroll 8
  for (int r = 0; r < 8; ++r) {
    F v[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const int64_t at = kRegister * r + kLanes * i;
      v[i] = min(set1(127.0f), mul(load(x + at), set1(inverse[at / 32])));  // keeps NaN
    }
    q[r] = pack_i8(v);
    store_ints(out->q + 32 * first + kRegister * r, q[r]);
    dots[r] = dot_bytes<false>(ones_i8(), q[r]);
#if RUNNEL_SIMD_BITS == 512  // only formats of this level read it
    if (r % 2 == 0) continue;
    store_ints(out->split + kRegister * (r - 1), _mm512_shuffle_i64x2(q[r - 1], q[r], 0x88));
    store_ints(out->split + kRegister * r, _mm512_shuffle_i64x2(q[r - 1], q[r], 0xDD));
    if (r % 4 != 3) continue;
    const I* four = q + r - 3;  // groups 0 and 1; 2 and 3; 4 and 5; 6 and 7
    for (int odd = 0; odd < 2; ++odd) {
      const auto these = [four, odd](int i) {
        return odd ? _mm512_shuffle_i64x2(four[i], four[i + 1], 0xEE)
                   : _mm512_shuffle_i64x2(four[i], four[i + 1], 0x44);
      };
      int8_t* to = out->pairs + kRegister * (r - 3 + 2 * odd);
      store_ints(to, _mm512_shuffle_i64x2(these(0), these(2), 0x88));
      store_ints(to + kRegister, _mm512_shuffle_i64x2(these(0), these(2), 0xDD));
    }
#endif
  }
  I half_sum[2];
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
    const int64_t half = 2 * first + kLanes * h;
    half_sum[h] = gather_groups<16>(dots + 4 * h);
    store_ints(out->half_sum + half, half_sum[h]);
    store(out->scaled_half_sum + half,
          mul(to_float(half_sum[h]), group_scales<16>(out->scale + half / 2, 0)));
  }
  const I sum = add_neighbours(half_sum[0], half_sum[1]);
  store_ints(out->sum + first, sum);
  store(out->scaled_sum + first, mul(to_float(sum), scale));
}
#else
constexpr int64_t kTogether = 1;

// Writes 32 int8 values and returns the scale.
inline float quantize_32(const float* x, int8_t* q) {
  F most = zero();
  for (int64_t i = 0; i < 32; i += kLanes) most = max(abs(load(x + i)), most);
  const float scale = largest(most) / 127.0f;
  const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  for (int64_t i = 0; i < 32; i += kLanes) {
    // The bounds also turn NaN (an overflowing model) into a number that converts.
    store_i8(q + i, min(max(mul(load(x + i), set1(inverse)), set1(-127.0f)), set1(127.0f)));
  }
  return scale;
}

inline int32_t sum_16(const int8_t* q) {
#if RUNNEL_SIMD_BITS == 128
  return vaddlvq_s8(load_i8(q));
#else
  int32_t total = 0;
  for (int i = 0; i < 16; ++i) total += q[i];
  return total;
#endif
}

inline void quantize_groups(const float* x, int64_t g, Chunk* out) {
  int8_t* q = out->q + 32 * g;
  out->scale[g] = quantize_32(x, q);
  for (int64_t half = 2 * g; half < 2 * g + 2; ++half) {
    out->half_sum[half] = sum_16(q + 16 * (half - 2 * g));
    out->scaled_half_sum[half] = out->scale[g] * static_cast<float>(out->half_sum[half]);
  }
  out->sum[g] = out->half_sum[2 * g] + out->half_sum[2 * g + 1];
  out->scaled_sum[g] = out->scale[g] * static_cast<float>(out->sum[g]);
}
#endif

template <int group>
void pack_groups(const Chunk* rows,
                 int64_t row_chunks,
                 int64_t n_tokens,
                 int64_t k,
                 uint8_t* tiles,
                 int64_t piece_bytes) {
  constexpr int64_t kPerPiece = piece_values(group) / group;
  const int64_t n_groups = k / group, per_chunk = kChunkValues / group;
  const PanelOrder order(n_groups);
  for (int64_t g = 0; g < n_groups; ++g) {
    const int64_t place = order.place(g);
    TileGroup<group>& to = reinterpret_cast<TileGroup<group>*>(
        tiles + place / kPerPiece * piece_bytes)[place % kPerPiece];
    if (n_tokens < kPanelTokens) memset(&to, 0, sizeof to);
    const int64_t at = g % per_chunk;
    for (int64_t t = 0; t < n_tokens; ++t) {
      const Chunk& x = rows[t * row_chunks + g / per_chunk];
      const int32_t sum = group == 32 ? x.sum[at] : x.half_sum[at];
      for (int64_t i = 0; i < group; i += kTileWord)
        memcpy(to.q + kPanelTokens * i + kTileWord * t, x.q + group * at + i, kTileWord);
      to.scale[t] = x.scale[group * at / 32];
      to.start[t] = -128 * sum;
      to.scaled_sum[t] = group == 32 ? x.scaled_sum[at] : x.scaled_half_sum[at];
    }
  }
}

}  // namespace

void quantize(const float* x, int64_t k, Chunk* out) {
  constexpr int64_t kStep = 32 * kTogether;
  for (int64_t first = 0; first < k; first += kChunkValues, ++out) {
    const int64_t left = k - first < kChunkValues ? k - first : kChunkValues;
    if (left < kChunkValues) memset(out, 0, sizeof *out);
    int64_t i = 0;
    for (; i + kStep <= left; i += kStep) quantize_groups(x + first + i, i / 32, out);
    if (i == left) continue;
    float rest[kStep] = {};
    memcpy(rest, x + first + i, static_cast<size_t>(left - i) * sizeof(float));
    quantize_groups(rest, i / 32, out);
  }
}

void pack_tile(const Chunk* rows,
               int64_t row_chunks,
               int64_t n_tokens,
               int group,
               int64_t k,
               uint8_t* tiles,
               int64_t piece_bytes) {
  const auto pack = group == 32 ? pack_groups<32> : pack_groups<16>;
  pack(rows, row_chunks, n_tokens, k, tiles, piece_bytes);
}

void pack_bf16_tile(
    const uint16_t* rows, int64_t n_tokens, int64_t k, uint8_t* tiles, int64_t piece_bytes) {
  constexpr int64_t kPerPiece = piece_values(2) / 2;
  struct Pair {
    uint16_t value[kPanelTokens][2];
  };
  const ChainOrder<kBf16Chains> order((k + 1) / 2);
  for (int64_t pair = 0; pair < order.n_groups; ++pair) {
    const int64_t place = order.place(pair);
    Pair& to = reinterpret_cast<Pair*>(tiles + place / kPerPiece * piece_bytes)[place % kPerPiece];
    for (int64_t t = 0; t < kPanelTokens; ++t)
      if (t < n_tokens)
        memcpy(to.value[t], rows + t * padded_bf16(k) + 2 * pair, sizeof to.value[t]);
      else
        memset(to.value[t], 0, sizeof to.value[t]);
  }
}

}  // namespace runnel::cpu::RUNNEL_ISA
