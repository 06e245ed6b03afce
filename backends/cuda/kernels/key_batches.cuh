// Batches of 32 keys for attention of few tokens: from tiles, or from rows of f16.
#pragma once
#include "backends/cuda/kernels/head_sums.cuh"

namespace runnel::cuda {

/// Tiles of one KV head.
struct TileView {
  std::byte* const* pages[2];
  quant::KvFormat format[2];
  int head;
};

/// Rows of one KV head in f16 pages.
struct PageRows {
  std::byte* const* pages[2];
  int head, dim;

  __device__ const __half* at(int half, int place) const {
    return page_row<__half>(pages[half], place, head, dim);
  }
  __device__ uint2 four(int half, int place, int d) const {
    return *reinterpret_cast<const uint2*>(at(half, place) + d);
  }
  __device__ std::uint32_t two(int half, int place, int d) const {
    return *reinterpret_cast<const std::uint32_t*>(at(half, place) + d);
  }
};

/// Rows of one KV head beside tiles.
struct WindowRows {
  KvWindow rows[2];
  int head;

  __device__ std::uint32_t two(int half, int place, int d) const {
    const KvWindow& w = rows[half];
    if (place < w.split) return *reinterpret_cast<const std::uint32_t*>(w.slot(place, head) + d);
    const __half2 both = __floats2half2_rn(w.value(place, head, d), w.value(place, head, d + 1));
    return reinterpret_cast<const std::uint32_t&>(both);
  }
  __device__ uint2 four(int half, int place, int d) const {
    if (rows[half].split <= place) return {two(half, place, d), two(half, place, d + 2)};
    return *reinterpret_cast<const uint2*>(rows[half].slot(place, head) + d);
  }
};

__device__ inline std::uint32_t word_of(const uint4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}
__device__ inline void eight_scales(const __half* from, float (&scale)[8]) {
  const uint4 words = *reinterpret_cast<const uint4*>(from);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t word = word_of(words, i);
    const float2 two = __half22float2(reinterpret_cast<const __half2&>(word));
    scale[2 * i] = two.x;
    scale[2 * i + 1] = two.y;
  }
}

/// Takes the keys from `first` (a multiple of 32) on that visible(place) says.
template <int kDim, class Visible>
__device__ void take_tiles(HeadSums<kDim>& sums,
                           const TileView& view,
                           int first,
                           Visible visible) {
  constexpr int kParts = kDim / kPart;
  const int g = threadIdx.x % 32 / 4, c = threadIdx.x % 4, own = first + own_key(c);
  const int loaded = first + loaded_key(g);
  const auto part_of = [&](int half, int place, int part) {
    return tile_part(view.pages[half], view.format[half], place, view.head, part, kParts);
  };
  uint2 v[kParts][8];
  float score[8] = {}, scale[kParts][8], largest = 0;
  with_codes(view.format[1], [&](auto codes) {
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const TilePart from = part_of(1, own, part);
#pragma unroll
      for (int i = 0; i < codes.kValueWords; ++i)
        v[part][i] =
            *reinterpret_cast<const uint2*>(from.codes + codes.value_at(i, c) + 8 * g);
      eight_scales(from.scales + own % kTile, scale[part]);
    }
  });
  with_codes(view.format[0], [&](auto codes) {
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const TilePart from = part_of(0, loaded, part);
      uint4 words[codes.kKeyWords];
      float products[4][4] = {}, key_scale[8];
#pragma unroll
      for (int i = 0; i < codes.kKeyWords; ++i)
        words[i] = *reinterpret_cast<const uint4*>(from.codes + codes.key_at(i, c) +
                                                   4 * (loaded % kTile));
      eight_scales(part_of(0, own, part).scales + own % kTile, key_scale);
#pragma unroll
      for (int b = 0; b < 4; ++b) {
        std::uint32_t of_token[codes.kKeyWords], operand[4][2];
#pragma unroll
        for (int i = 0; i < codes.kKeyWords; ++i) of_token[i] = word_of(words[i], b);
        codes.keys(of_token, c, operand);
        sums.multiply_key(part, operand, products[b]);
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) score[i] += key_scale[i] * score_of(products, i);
    }
  });
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (!visible(own + i)) score[i] = -INFINITY;
    for (int part = 0; part < kParts; ++part)
      if (score[i] != -INFINITY) largest = fmaxf(largest, fabsf(scale[part][i]));
  }
  sums.soften(score, __uint_as_float(__float_as_uint(quad_max(largest)) & 0x7F800000u));
  with_codes(view.format[1], [&](auto codes) {
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      std::uint32_t a[2][4];
      sums.weigh(scale[part], a);
#pragma unroll
      for (int parity = 0; parity < 2; ++parity) {
        std::uint32_t words[codes.kValueWords], operand[4][2][2];
#pragma unroll
        for (int i = 0; i < codes.kValueWords; ++i)
          words[i] = parity == 0 ? v[part][i].x : v[part][i].y;
        codes.values(words, c, operand);
        sums.add_values(part, parity, a, operand);
      }
    }
  });
}

/// The same with rows; `codes` as of the queries in `sums`, `last`: a place that has a row.
template <int kDim, class Rows, class Codes, class Visible>
__device__ void take_rows(HeadSums<kDim>& sums,
                          const Rows& rows,
                          int first,
                          int last,
                          Codes codes,
                          Visible visible) {
  constexpr int kParts = kDim / kPart;
  const int g = threadIdx.x % 32 / 4, c = threadIdx.x % 4, own = first + own_key(c);
  std::uint32_t v[8][4];
  const auto load_values = [&](int part) {
#pragma unroll
    for (int i = 0; i < 8; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j)
        v[i][j] = visible(own + i) ? rows.two(1, own + i, part * kPart + 16 * j + 2 * g) : 0;
  };
  if (kParts == 1) load_values(0);
  float score[8], products[4][4] = {};
#pragma unroll
  for (int part = 0; part < kParts; ++part)
#pragma unroll
    for (int b = 0; b < 4; ++b) {
      const int place = min(first + loaded_key(g) + b, last);
      std::uint32_t operand[4][2];
#pragma unroll
      for (int m = 0; m < 4; ++m) {
        const uint2 four = rows.four(0, place, part * kPart + codes.channel(m, c));
        operand[m][0] = four.x;
        operand[m][1] = four.y;
      }
      sums.multiply_key(part, operand, products[b]);
    }
#pragma unroll
  for (int i = 0; i < 8; ++i) score[i] = visible(own + i) ? score_of(products, i) : -INFINITY;
  sums.soften(score, 1.0f);
  std::uint32_t a[2][4];
  const float ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  sums.weigh(ones, a);
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    if (kParts > 1) load_values(part);
#pragma unroll
    for (int parity = 0; parity < 2; ++parity) {
      const std::uint32_t selector = parity == 0 ? 0x5410u : 0x7632u;
      std::uint32_t operand[4][2][2];
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          operand[j][i / 2][i % 2] = permute(v[2 * i][j], v[2 * i + 1][j], selector);
      sums.add_values(part, parity, a, operand);
    }
  }
}

}  // namespace runnel::cuda
