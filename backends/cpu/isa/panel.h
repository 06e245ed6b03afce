// y = x W^T for one quantised format with many tokens. 16 weight rows are unpacked once into a
// panel: per group, in the order the chains (see kernels.h) visit them, bytes [group / 4][16 rows]
// [4 values] stored + 128, then 16 scales and perhaps 16 minimums. A product keeps 16 rows x T
// tokens in registers: per group of 32 and token 8 dot instructions with a broadcast operand, a
// conversion, a product and a sum, so at best 8 of 11 vector instructions are dots.
#pragma once
#include "backends/cpu/isa/matmul_rows.h"

#if RUNNEL_SIMD_BITS == 512
namespace runnel::cpu::RUNNEL_ISA {

template <class Format>
constexpr int64_t kPanelGroupBytes = kPanelRows*(Format::kGroup + (Format::kHasMin ? 8 : 4));

/// Bits of j (< 16) reversed: sums of neighbours in this order are halves, then quarters, ...
constexpr int64_t chain_at(int64_t j) {
  return (j & 1) << 3 | (j & 2) << 1 | (j & 4) >> 1 | j >> 3;
}

/// First place in a panel of each chain's groups.
struct Places {
  int64_t first[16];
  explicit Places(int64_t n_groups) {
    for (int64_t j = 0, next = 0; j < 16; ++j) {
      first[chain_at(j)] = next;
      next += (n_groups + 15 - chain_at(j)) / 16;
    }
  }
  int64_t of(int64_t group) const { return first[group % 16] + group / 16; }
};

/// Lane c of row r becomes lane r of row c.
inline void transpose(I* v) {
  I a[16];
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    a[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int h = 0; h < 2; ++h) {  // 128-bit lane l: column 4 l + 2 h (+ 1) of rows i .. i + 3
      v[i + 2 * h] = _mm512_unpacklo_epi64(a[i + h], a[i + h + 2]);
      v[i + 2 * h + 1] = _mm512_unpackhi_epi64(a[i + h], a[i + h + 2]);
    }
  for (int c = 0; c < 4; ++c) {
    const I low = _mm512_shuffle_i64x2(v[c], v[c + 4], 0x88);
    const I low_odd = _mm512_shuffle_i64x2(v[c], v[c + 4], 0xDD);
    const I high = _mm512_shuffle_i64x2(v[c + 8], v[c + 12], 0x88);
    const I high_odd = _mm512_shuffle_i64x2(v[c + 8], v[c + 12], 0xDD);
    a[c] = _mm512_shuffle_i64x2(low, high, 0x88);
    a[c + 8] = _mm512_shuffle_i64x2(low, high, 0xDD);
    a[c + 4] = _mm512_shuffle_i64x2(low_odd, high_odd, 0x88);
    a[c + 12] = _mm512_shuffle_i64x2(low_odd, high_odd, 0xDD);
  }
  for (int i = 0; i < 16; ++i) v[i] = a[i];
}

// The 16 groups from first on; rows: a chunk of each weight row.
template <class Format>
void pack_chunk(const uint8_t* const* rows,
                int64_t first,
                int64_t n_groups,
                const Places& places,
                uint8_t* panel) {
  constexpr int kWords = Format::kGroup / 4, kGroups = 64 / Format::kGroup;  // per register
  const auto place = [&](int64_t g) {
    return panel + places.of(first + g) * kPanelGroupBytes<Format>;
  };
  const I raise = _mm512_set1_epi8(static_cast<char>(128 - Format::kOffset));
  for (int i = 0; i < 16 / kGroups; ++i) {
    if (first + i * kGroups >= n_groups) break;
    I v[16];
    for (int r = 0; r < 16; ++r) v[r] = _mm512_add_epi8(Format::values(rows[r], i), raise);
    transpose(v);
    for (int g = 0; g < kGroups && first + i * kGroups + g < n_groups; ++g)
      for (int word = 0; word < kWords; ++word)
        _mm512_storeu_si512(place(i * kGroups + g) + 64 * word, v[g * kWords + word]);
  }
  alignas(64) float scale[16][16], min[16][16];
  for (int r = 0; r < 16; ++r) Format::scales(rows[r], scale[r], min[r]);
  const auto pack = [&](const float(*factors)[16], int64_t offset) {
    I v[16];
    for (int r = 0; r < 16; ++r) v[r] = _mm512_load_si512(factors[r]);
    transpose(v);
    for (int g = 0; g < 16 && first + g < n_groups; ++g)
      _mm512_storeu_si512(place(g) + offset, v[g]);
  };
  pack(scale, kPanelRows * Format::kGroup);
  if constexpr (Format::kHasMin) pack(min, kPanelRows * (Format::kGroup + 4));
}

template <class Format>
void pack_panel(const uint8_t* w, int64_t w_stride, int64_t n_rows, int64_t k, void* panel) {
  const int64_t n_groups = k / Format::kGroup;
  const Places places(n_groups);
  alignas(64) uint8_t rest[kPanelRows][kBytes<Format>];
  for (int64_t first = 0; first < n_groups; first += 16) {
    const uint8_t* rows[kPanelRows];
    const int64_t at = first / 16 * kBytes<Format>;
    const int64_t left = k - first * Format::kGroup;
    for (int64_t r = 0; r < kPanelRows; ++r) {
      rows[r] = w + r * w_stride + at;
      if (r < n_rows && left >= kValues<Format>) continue;
      memset(rest[r], 0, sizeof rest[r]);
      if (r < n_rows)
        memcpy(rest[r], rows[r],
               static_cast<size_t>(left / Format::kBlockValues * Format::kBlockBytes));
      rows[r] = rest[r];
    }
    pack_chunk<Format>(rows, first, n_groups, places, static_cast<uint8_t*>(panel));
  }
}

inline I broadcast_word(const int8_t* p) {
  int32_t word;
  memcpy(&word, p, sizeof word);
  return _mm512_set1_epi32(word);
}

// Adds one group's products to a chain of each token.
template <class Format, int T>
inline void add_group(const uint8_t* w, const TileGroup* x, int64_t g, F* chain) {
  constexpr bool kWhole = Format::kGroup == 32;
  const TileGroup& tile = kWhole ? x[g] : x[g / 2];
  const int64_t half = kWhole ? 0 : g % 2;
  const int32_t* start = kWhole ? tile.start : tile.half_start[half];
  const float* scaled_sum = kWhole ? tile.scaled_sum : tile.scaled_half_sum[half];
  I dot[T];
#pragma GCC unroll 12
  for (int t = 0; t < T; ++t) dot[t] = _mm512_set1_epi32(start[t]);
#pragma GCC unroll 8
  for (int word = 0; word < Format::kGroup / 4; ++word) {
    const I weight = _mm512_loadu_si512(w + 64 * word);
#pragma GCC unroll 12
    for (int t = 0; t < T; ++t)
      dot[t] = _mm512_dpbusd_epi32(dot[t], weight, broadcast_word(tile.q[4 * half + word][t]));
  }
  const F scale = load(reinterpret_cast<const float*>(w + kPanelRows * Format::kGroup));
#pragma GCC unroll 12
  for (int t = 0; t < T; ++t)
    chain[t] = fma(to_float(dot[t]), mul(scale, set1(tile.scale[t])), chain[t]);
  if constexpr (Format::kHasMin) {
    const F min = load(reinterpret_cast<const float*>(w + kPanelRows * (Format::kGroup + 4)));
#pragma GCC unroll 12
    for (int t = 0; t < T; ++t) chain[t] = fma(min, set1(scaled_sum[t]), chain[t]);
  }
}

template <class Format, int T>
void multiply_panel(const PanelTask& task) {
  const int64_t n_groups = task.k / Format::kGroup;
  const auto* w = static_cast<const uint8_t*>(task.panel);
  F held[4][T];  // sums of 1, 2, 4 and 8 chains that wait for their neighbours
  F chain[T];
  for (int64_t j = 0; j < 16; ++j) {
#pragma GCC unroll 12
    for (int t = 0; t < T; ++t) chain[t] = zero();
    for (int64_t g = chain_at(j); g < n_groups; g += 16, w += kPanelGroupBytes<Format>)
      add_group<Format, T>(w, task.x, g, chain);
    int level = 0;
    for (; (j >> level) & 1; ++level)
#pragma GCC unroll 12
      for (int t = 0; t < T; ++t) chain[t] = add(held[level][t], chain[t]);
    if (j < 15)
#pragma GCC unroll 12
      for (int t = 0; t < T; ++t) held[level][t] = chain[t];
  }
  const auto rows = static_cast<__mmask16>((1u << task.n_rows) - 1);
#pragma GCC unroll 12
  for (int t = 0; t < T; ++t)
    if (t < task.n_tokens) _mm512_mask_storeu_ps(task.y + t * task.y_stride, rows, chain[t]);
}

template <class Format>
void panel(const PanelTask& task) {
  if (task.n_tokens > 8) return multiply_panel<Format, 12>(task);
  if (task.n_tokens > 4) return multiply_panel<Format, 8>(task);
  multiply_panel<Format, 4>(task);
}

}  // namespace runnel::cpu::RUNNEL_ISA

#define RUNNEL_PRODUCTS(Format)                                                       \
  template void matmul_rows<Format>(const MatmulTask&);                               \
  template void pack_panel<Format>(const uint8_t*, int64_t, int64_t, int64_t, void*); \
  template void panel<Format>(const PanelTask&);                                      \
  static_assert(kPanelGroupBytes<Format> <= panel_bytes(Format::kGroup));
#else
#define RUNNEL_PRODUCTS(Format) template void matmul_rows<Format>(const MatmulTask&);
#endif
