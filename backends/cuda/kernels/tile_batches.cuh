// Batches of 32 keys from tiles, for attention of few tokens.
#pragma once
#include "backends/cuda/kernels/head_sums.cuh"

namespace runnel::cuda {

/// Tiles of one KV head.
struct TileView {
  std::byte* const* pages[2];
  quant::KvFormat format[2];
  int head;
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
__device__ void take_tiles(HeadSums<kDim>& sums, const TileView& view, int first, Visible visible) {
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
        v[part][i] = *reinterpret_cast<const uint2*>(from.codes + codes.value_at(i, c) + 8 * g);
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
        words[i] =
            *reinterpret_cast<const uint4*>(from.codes + codes.key_at(i, c) + 4 * (loaded % kTile));
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

}  // namespace runnel::cuda
