// The NEON part of panel_blocks.h: 12 of 32 registers for the sums of a group and 12 for a chain at
// T = 6. Per group of 32:
//   i8mm      words of 8: 48 instructions of 2 rows x 2 tokens x 8 values, 28 loads, 36 to scale
//   dotprod   words of 4: 96 instructions of 4 rows x 1 token x 4 values, 32 loads, 36 to scale
// In all, 0.12 and 0.18 instructions per weight and token of q4_k in the loops that g++ 12 makes,
// where the row kernel takes 0.37. Nobody has measured either on hardware.
#pragma once
#include "backends/cpu/isa/matmul_rows.h"

#if RUNNEL_SIMD_BITS == 128 && defined(__ARM_FEATURE_DOTPROD)
namespace runnel::cpu::RUNNEL_ISA {

// The 16 groups from `first` on of rows [row, row + 16) of the panel; rows: their chunks.
template <class Format>
void pack_chunk(const uint8_t* const* rows,
                int64_t row,
                int64_t first,
                const PanelOrder& order,
                uint8_t* panel) {
  constexpr int kRegisters = Format::kGroup / 16;
  const int64_t left = order.n_groups - first;
  const int groups = left < 16 ? static_cast<int>(left) : 16;
  const I offset = vdupq_n_s8(Format::kOffset < 128 ? Format::kOffset : 0);
  for (int r = 0; r < 16; ++r) {
    uint8_t* block = panel + (row + r) / kBlockRows * order.n_groups * kBlockGroupBytes<Format>;
    const int64_t place = r % kBlockRows;
    float scale[16], min[16];
    Format::scales(rows[r], scale, min);
    for (int g = 0; g < groups; ++g) {
      uint8_t* to = block + order.place(first + g) * kBlockGroupBytes<Format>;
      int8_t values[Format::kGroup];
      for (int i = 0; i < kRegisters; ++i)
        vst1q_s8(values + 16 * i, vsubq_s8(Format::values(rows[r], g * kRegisters + i), offset));
      for (int i = 0; i < Format::kGroup; i += kTileWord)
        memcpy(to + kBlockRows * i + kTileWord * place, values + i, kTileWord);
      uint8_t* factors = to + kBlockRows * Format::kGroup + 4 * place;
      memcpy(factors, scale + g, 4);
      if constexpr (Format::kHasMin) memcpy(factors + 4 * kBlockRows, min + g, 4);
    }
  }
}

#if defined(__ARM_FEATURE_MATMUL_INT8)
/// Register of row pair r and token pair t: r * T / 2 + t, lanes r0 t0, r0 t1, r1 t0, r1 t1.
template <int T, int group>
inline void multiply_group(const int8_t* w, const int8_t* x, Dots* dots) {
#pragma GCC unroll 4
  for (int word = 0; word < group / 8; ++word) {
    I tokens[T / 2];
#pragma GCC unroll 3
    for (int t = 0; t < T / 2; ++t) tokens[t] = load_i8(x + 8 * kPanelTokens * word + 16 * t);
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const I rows = load_i8(w + 8 * kBlockRows * word + 16 * r);
#pragma GCC unroll 3
      for (int t = 0; t < T / 2; ++t)
        dots[r * T / 2 + t] = vmmlaq_s32(dots[r * T / 2 + t], rows, tokens[t]);
    }
  }
}
/// The factors of 8 rows and of T tokens for register i.
template <int T>
inline F of_rows(const float* p, int i) {
  const F four = load(p + i / T * 4);
  return i / (T / 2) % 2 ? vzip2q_f32(four, four) : vzip1q_f32(four, four);
}
template <int T>
inline F of_tokens(const float* p, int i) {
  const float32x2_t pair = vld1_f32(p + i % (T / 2) * 2);
  return vcombine_f32(pair, pair);
}
/// Row and token of a lane of register i.
template <int T>
inline int row_of(int i, int lane) {
  return i / (T / 2) * 2 + lane / 2;
}
template <int T>
inline int token_of(int i, int lane) {
  return i % (T / 2) * 2 + lane % 2;
}
#else
/// Register of row quad r and token t: r * T + t, one lane per row.
template <int T, int group>
inline void multiply_group(const int8_t* w, const int8_t* x, Dots* dots) {
#pragma GCC unroll 8
  for (int word = 0; word < group / 4; ++word) {
    const int8_t* tokens = x + 4 * kPanelTokens * word;
    const I four = load_i8(tokens);
    const int8x8_t two = vld1_s8(tokens + 16);
#pragma GCC unroll 2
    for (int r = 0; r < 2; ++r) {
      const I rows = load_i8(w + 4 * kBlockRows * word + 16 * r);
      Dots* of_quad = dots + r * T;
      of_quad[0] = vdotq_laneq_s32(of_quad[0], rows, four, 0);
      of_quad[1] = vdotq_laneq_s32(of_quad[1], rows, four, 1);
      if constexpr (T > 2) {
        of_quad[2] = vdotq_laneq_s32(of_quad[2], rows, four, 2);
        of_quad[3] = vdotq_laneq_s32(of_quad[3], rows, four, 3);
      }
      if constexpr (T > 4) {
        of_quad[4] = vdotq_lane_s32(of_quad[4], rows, two, 0);
        of_quad[5] = vdotq_lane_s32(of_quad[5], rows, two, 1);
      }
    }
  }
}
template <int T>
inline F of_rows(const float* p, int i) {
  return load(p + i / T * 4);
}
template <int T>
inline F of_tokens(const float* p, int i) {
  return set1(p[i % T]);
}
template <int T>
inline int row_of(int i, int lane) {
  return i / T * 4 + lane;
}
template <int T>
inline int token_of(int i, int) {
  return i % T;
}
#endif

// Adds one group's products to a chain of each row and token.
template <class Format, int T>
inline void add_group(const uint8_t* w, const TileGroup<Format::kGroup>& x, F* chain) {
  Dots dots[2 * T];
#pragma GCC unroll 12
  for (int i = 0; i < 2 * T; ++i) dots[i] = vdupq_n_s32(0);
  multiply_group<T, Format::kGroup>(reinterpret_cast<const int8_t*>(w), x.q, dots);
  const auto* factors = reinterpret_cast<const float*>(w + kBlockRows * Format::kGroup);
#pragma GCC unroll 12
  for (int i = 0; i < 2 * T; ++i)
    chain[i] =
        fma(to_float(dots[i]), mul(of_rows<T>(factors, i), of_tokens<T>(x.scale, i)), chain[i]);
  if constexpr (Format::kHasMin)
#pragma GCC unroll 12
    for (int i = 0; i < 2 * T; ++i)
      chain[i] = fma(of_rows<T>(factors + kBlockRows, i), of_tokens<T>(x.scaled_sum, i), chain[i]);
}

}  // namespace runnel::cpu::RUNNEL_ISA
#endif
