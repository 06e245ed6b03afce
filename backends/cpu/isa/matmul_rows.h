// y = x W^T for one quantised format, weights as they are in the file: per chunk of 16 groups the
// integer dots are gathered into one lane per group, then scaled and added to the chains (see
// kernels.h) eight groups at a time. Per weight: its unpacking, once for up to 4 tokens, and 1/64
// dot instruction and about 1/16 reduction instruction per token.
#pragma once
#include "backends/cpu/isa/activations.h"
#if RUNNEL_SIMD_BITS == 128
#include "backends/cpu/isa/chunk_neon.h"
#elif RUNNEL_SIMD_BITS == 0
#include "backends/cpu/isa/chunk_plain.h"
#elif RUNNEL_SIMD_BITS == 512
#include "backends/cpu/isa/four_avx512.h"
#endif

namespace runnel::cpu::RUNNEL_ISA {

#if RUNNEL_SIMD_BITS >= 256
/// Eight lanes of a register.
inline __m256 half_of(F v, int half) {
#if RUNNEL_SIMD_BITS == 512
  return half ? _mm512_extractf32x8_ps(v, 1) : _mm512_castps512_ps256(v);
#else
  static_cast<void>(half);
  return v;
#endif
}

/// The dots of all groups of a chunk (or of half of it), one per lane.
template <class Format>
inline I gather(const I* weight, const int8_t* q) {
#if RUNNEL_SIMD_BITS == 512
  return _mm512_permutexvar_epi32(dot_order<Format>(), sum_dots<Format>(weight, q));
#else
  constexpr bool kWide = Format::kOffset >= 128;
  I dots[8];
#pragma GCC unroll 8
  for (int i = 0; i < Format::kGroup / 4; ++i)
    dots[i] = dot_bytes<kWide>(weight[i], load_i8(q + 4 * kLanes * i));
  return gather_groups<Format::kGroup>(dots);
#endif
}

template <class Format, int T>
inline void add_chunk(const uint8_t* w, const Chunk* const* x, int64_t chunk, Chains* chains) {
  constexpr int kRegisters = static_cast<int>(kValues<Format>) / (4 * kLanes) / (16 / kLanes);
  alignas(64) float scale[16], min[16];
  Format::scales(w, scale, min);
#pragma GCC unroll 2
  for (int part = 0; part < (16 / kLanes); ++part) {
    I weight[kRegisters];
#pragma GCC unroll 8
    for (int i = 0; i < kRegisters; ++i) weight[i] = stored<Format>(w, part * kRegisters + i);
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
      const Activations a = activations<Format>(x[t], chunk);
      const I gathered = gather<Format>(weight, a.q + 4 * kLanes * kRegisters * part);
      const int64_t lane = part * kLanes;
      const I exact = take_offset<Format::kOffset>(gathered, load_ints(a.sum + lane));
      const F x_scale = group_scales<Format::kGroup>(a.scale, part);
      const F dot = to_float(exact), scales = mul(load(scale + lane), x_scale);
#pragma GCC unroll 2
      for (int half = 0; half < kLanes / 8; ++half) {
        chains[t] = _mm256_fmadd_ps(half_of(dot, half), half_of(scales, half), chains[t]);
        if constexpr (Format::kHasMin)
          chains[t] = _mm256_fmadd_ps(_mm256_load_ps(min + lane + 8 * half),
                                      _mm256_loadu_ps(a.scaled_sum + lane + 8 * half), chains[t]);
      }
    }
  }
}

#endif

// R weight rows, `apart` rows from each other, times T tokens.
template <class Format, int R, int T>
void multiply_rows(const MatmulTask& task, int64_t n, int64_t apart, int64_t t0) {
  const uint8_t* w[R];
  const Chunk* x[T];
  Chains chains[R][T];
  for (int r = 0; r < R; ++r) w[r] = task.w + (n + r * apart) * task.w_stride;
  for (int t = 0; t < T; ++t) x[t] = reinterpret_cast<const Chunk*>(x_row(task, t0 + t));
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < T; ++t) chains[r][t] = no_chains();
  const int64_t whole = task.k / kValues<Format>, left = task.k % kValues<Format>;
  for (int64_t c = 0; c < whole; ++c)
    for (int r = 0; r < R; ++r, w[r - 1] += kBytes<Format>) {
      if (T == 1 && task.ahead > 0)
        for (int64_t i = 0; i < kBytes<Format>; i += 64) prefetch(w[r] + task.ahead + i);
      add_chunk<Format, T>(w[r], x, c, chains[r]);
    }
  if (left > 0)
    for (int r = 0; r < R; ++r) {  // missing blocks have scale zero
      alignas(64) uint8_t rest[kBytes<Format>] = {};
      memcpy(rest, w[r], static_cast<size_t>(left / Format::kBlockValues * Format::kBlockBytes));
      add_chunk<Format, T>(rest, x, whole, chains[r]);
    }
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < T; ++t) y_row(task, t0 + t)[n + r * apart] = total(chains[r][t]);
}

template <class Format>
void matmul_rows(const MatmulTask& task) {
  int64_t t = 0;
  for (; t + 4 <= task.n_tokens; t += 4)
    for (int64_t n = 0; n < task.n_rows; ++n) multiply_rows<Format, 1, 4>(task, n, 0, t);
  for (; t < task.n_tokens; ++t) {
    const int64_t apart = task.n_rows / kStreams;
#if RUNNEL_SIMD_BITS == 512
    for (int64_t n = 0; n < apart; ++n) multiply_four<Format>(task, n, apart, t);
#else
    for (int64_t n = 0; n < apart; ++n) multiply_rows<Format, kStreams, 1>(task, n, apart, t);
#endif
    for (int64_t n = kStreams * apart; n < task.n_rows; ++n)
      multiply_rows<Format, 1, 1>(task, n, 0, t);
  }
}

}  // namespace runnel::cpu::RUNNEL_ISA
