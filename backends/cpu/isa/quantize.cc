// Activations to int8 with one f32 scale per 32 values (largest magnitude / 127), rounded to
// nearest, with the sums that take weight offsets and minimums into account; and their arrangement
// in tiles for packed weights.
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {
namespace {

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
#if RUNNEL_SIMD_BITS >= 256
  const __m128i stored = _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(q)),
                                       _mm_set1_epi8(-128));  // + 128
  const __m128i sums = _mm_sad_epu8(stored, _mm_setzero_si128());
  return _mm_cvtsi128_si32(sums) + _mm_extract_epi16(sums, 4) - 16 * 128;
#elif RUNNEL_SIMD_BITS == 128
  return vaddlvq_s8(load_i8(q));
#else
  int32_t total = 0;
  for (int i = 0; i < 16; ++i) total += q[i];
  return total;
#endif
}

template <int group>
void pack_groups(const Chunk* rows,
                 int64_t row_chunks,
                 int64_t n_tokens,
                 int64_t k,
                 uint8_t* tiles,
                 int64_t piece_bytes) {
  constexpr int64_t kPerPiece = kPieceValues / group;
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
  for (int64_t first = 0; first < k; first += kChunkValues, ++out) {
    const int64_t left = k - first, groups = (left < kChunkValues ? left : kChunkValues) / 32;
    if (groups < 16) memset(out, 0, sizeof *out);
    for (int64_t g = 0; g < groups; ++g) {
      int8_t* q = out->q + 32 * g;
      out->scale[g] = quantize_32(x + first + 32 * g, q);
      memcpy(out->split + 128 * (g / 4) + 16 * (g % 4), q, 16);
      memcpy(out->split + 128 * (g / 4) + 16 * (g % 4) + 64, q + 16, 16);
      for (int64_t half = 2 * g; half < 2 * g + 2; ++half) {
        out->half_sum[half] = sum_16(q + 16 * (half - 2 * g));
        out->scaled_half_sum[half] = out->scale[g] * static_cast<float>(out->half_sum[half]);
      }
      out->sum[g] = out->half_sum[2 * g] + out->half_sum[2 * g + 1];
      out->scaled_sum[g] = out->scale[g] * static_cast<float>(out->sum[g]);
    }
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

}  // namespace runnel::cpu::RUNNEL_ISA
