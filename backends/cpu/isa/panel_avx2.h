// The AVX2 part of panel_blocks.h. A register holds one word (4 values) of 8 rows. With vpdpbusd, a
// word costs each token a product and a load, and a group 3 or 4 more to scale. Else products of a
// stored value and an activation are added in pairs in 16 bits, and with small values several words
// before they are widened: per group of 32 and token, of 4-bit values, 8 products, 7 sums and 1
// widening, and 4 or 5 instructions to scale; 1 load a word and 1 more a token.
#pragma once
#include "backends/cpu/isa/matmul_rows.h"

#if RUNNEL_SIMD_BITS == 256
namespace runnel::cpu::RUNNEL_ISA {

/// Without vpdpbusd values stored + 128 are packed signed; with it all are packed + 128.
template <class Format>
constexpr bool kPackedSigned = Format::kOffset >= 128 && !kExactDots;
template <class Format>
inline I packed(I stored) {
  constexpr int kRaise = kExactDots ? 128 - Format::kOffset : kPackedSigned<Format> ? -128 : 0;
  return _mm256_add_epi8(stored, _mm256_set1_epi8(static_cast<char>(kRaise)));
}
/// Words whose sums of pairs fit 16 bits: stored values are at most 15 with an offset of 4 or 8,
/// 63 with 32 and else 31.
template <class Format>
constexpr int kWordsInRun = kPackedSigned<Format>                          ? 1
                            : Format::kOffset == 4 || Format::kOffset == 8 ? 8
                            : Format::kOffset == 32                        ? 2
                                                                           : 4;

// The 16 groups from `first` on of rows [row, row + 16) of the panel; rows: their chunks.
template <class Format>
void pack_chunk(const uint8_t* const* rows,
                int64_t row,
                int64_t first,
                const PanelOrder& order,
                uint8_t* panel) {
  constexpr int kGroups = 32 / Format::kGroup, kWords = Format::kGroup / 4;  // per register
  for (int64_t r0 = 0; r0 < 16; r0 += kBlockRows) {
    uint8_t* block = panel + (row + r0) / kBlockRows * order.n_groups * kBlockGroupBytes<Format>;
    const auto place = [&](int64_t g) {
      return block + order.place(first + g) * kBlockGroupBytes<Format>;
    };
    for (int i = 0; i < 16 / kGroups; ++i) {
      if (first + i * kGroups >= order.n_groups) break;
      F v[kBlockRows];
      for (int r = 0; r < kBlockRows; ++r)
        v[r] = _mm256_castsi256_ps(packed<Format>(Format::values(rows[r0 + r], i)));
      transpose(v);
      for (int g = 0; g < kGroups && first + i * kGroups + g < order.n_groups; ++g)
        for (int word = 0; word < kWords; ++word)
          _mm256_storeu_ps(reinterpret_cast<float*>(place(i * kGroups + g) + 4 * kBlockRows * word),
                           v[g * kWords + word]);
    }
    alignas(32) float scale[kBlockRows][16], min[kBlockRows][16];
    for (int r = 0; r < kBlockRows; ++r) Format::scales(rows[r0 + r], scale[r], min[r]);
    const auto pack = [&](const float(*factors)[16], int64_t offset) {
      for (int half = 0; half < 16; half += kLanes) {
        F v[kBlockRows];
        for (int r = 0; r < kBlockRows; ++r) v[r] = load(factors[r] + half);
        transpose(v);
        for (int g = 0; g < kLanes && first + half + g < order.n_groups; ++g)
          store(reinterpret_cast<float*>(place(half + g) + offset), v[g]);
      }
    };
    pack(scale, kBlockRows * Format::kGroup);
    if constexpr (Format::kHasMin) pack(min, kBlockRows * (Format::kGroup + 4));
  }
}

/// Computes v here and now: left alone, compilers add up the words of a group in another order,
/// with far more products under way than there are registers.
inline void now(I& v) {
  asm("" : "+x"(v));
}

inline I broadcast_word(const int8_t* q) {
  int32_t word;
  memcpy(&word, q, sizeof word);
  return _mm256_set1_epi32(word);
}

/// Sums of two products each, 16 bits.
template <class Format>
inline I multiply_word(I rows, const int8_t* q) {
  const I x = broadcast_word(q);
  if constexpr (kPackedSigned<Format>)
    return _mm256_maddubs_epi16(_mm256_sign_epi8(rows, rows), _mm256_sign_epi8(x, rows));
  else
    return _mm256_maddubs_epi16(rows, x);
}

// Dots of 8 rows and each token, of values as packed.
template <class Format, int T>
inline void dot_group(const int8_t* rows, const TileGroup<Format::kGroup>& x, I* dot) {
  constexpr int kWords = Format::kGroup / 4;
  constexpr int kRun = kWordsInRun<Format> < kWords ? kWordsInRun<Format> : kWords;
#pragma GCC unroll 6
  for (int t = 0; t < T; ++t) dot[t] = _mm256_setzero_si256();
#pragma GCC unroll 8
  for (int run = 0; run < kWords; run += kRun) {
    I pairs[T];
#pragma GCC unroll 8
    for (int word = run; word < run + kRun; ++word) {
      const I values = load_i8(rows + 4 * kBlockRows * word);
#pragma GCC unroll 6
      for (int t = 0; t < T; ++t) {
        const I product = multiply_word<Format>(values, x.q + 4 * (kPanelTokens * word + t));
        pairs[t] = word == run ? product : _mm256_add_epi16(pairs[t], product);
        now(pairs[t]);
      }
    }
#pragma GCC unroll 6
    for (int t = 0; t < T; ++t)
      dot[t] = _mm256_add_epi32(dot[t], _mm256_madd_epi16(pairs[t], _mm256_set1_epi16(1)));
  }
#pragma GCC unroll 6
  for (int t = 0; t < T; ++t)
    if constexpr (Format::kOffset > 0 && !kPackedSigned<Format>)  // start: 128 times the sum
      dot[t] = _mm256_add_epi32(dot[t], _mm256_srai_epi32(_mm256_set1_epi32(x.start[t]),
                                                          7 - __builtin_ctz(Format::kOffset)));
}

// The same with vpdpbusd.
template <class Format, int T>
inline void dot_group_exact(const int8_t* rows, const TileGroup<Format::kGroup>& x, I* dot) {
#pragma GCC unroll 6
  for (int t = 0; t < T; ++t) dot[t] = _mm256_set1_epi32(x.start[t]);
#pragma GCC unroll 8
  for (int word = 0; word < Format::kGroup / 4; ++word) {
    const I values = load_i8(rows + 4 * kBlockRows * word);
#pragma GCC unroll 6
    for (int t = 0; t < T; ++t)
      dot[t] = add_bytes(dot[t], values, broadcast_word(x.q + 4 * (kPanelTokens * word + t)));
  }
}

// Adds one group's products to a chain of 8 rows and each token.
template <class Format, int T>
inline void add_group(const uint8_t* w, const TileGroup<Format::kGroup>& x, F* chain) {
  const auto* rows = reinterpret_cast<const int8_t*>(w);
  I dot[T];
  if constexpr (kExactDots)
    dot_group_exact<Format, T>(rows, x, dot);
  else
    dot_group<Format, T>(rows, x, dot);
  const auto* factors = reinterpret_cast<const float*>(w + kBlockRows * Format::kGroup);
#pragma GCC unroll 6
  for (int t = 0; t < T; ++t) {
    chain[t] = fma(to_float(dot[t]), mul(load(factors), set1(x.scale[t])), chain[t]);
    if constexpr (Format::kHasMin)
      chain[t] = fma(load(factors + kBlockRows), set1(x.scaled_sum[t]), chain[t]);
  }
}

/// Row and token of a lane of register i.
template <int T>
inline int row_of(int, int lane) {
  return lane;
}
template <int T>
inline int token_of(int i, int) {
  return i;
}

}  // namespace runnel::cpu::RUNNEL_ISA
#endif
