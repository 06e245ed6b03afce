// Keys and values of tiles, or of the rows beside them, for attention of few tokens: a group of lanes
// takes four tokens of a tile at once, a lane 8 channels of them.
#pragma once
#include "backends/cuda/kernels/attention_keys.cuh"

namespace runnel::cuda {
namespace {

constexpr int kQuad = 4;  // tokens whose codes lie together (quant/kv_tile.h)

struct TileView {
  std::byte* const* pages[2];
  quant::KvFormat format[2];
  KvWindow rows[2];
  int head, end;
  int sealed_begin, sealed_end;  // keys of tiles
};

__device__ inline std::uint32_t word_of(const uint4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}
__device__ inline int byte_of(std::uint32_t word, int i) {
  return static_cast<int>(word >> (8 * i) & 255);
}
__device__ inline int signed_byte_of(std::uint32_t word, int i) {
  return static_cast<std::int8_t>(word >> (8 * i));
}

template <int kDim>
struct TileSource {
  const TileView& view;
  const float (*levels)[16];  // of each half's format, where it has few
  int part, group;
  int at = 0;  // first key of the quad
  // Codes as they lie; of kt3 the last bits behind them.
  uint4 k[2], v[4];
  uint2 scales[2];

  __device__ int key(int first, int b) const { return first + group * kQuad + b; }

  __device__ void fetch(int first) {
    at = key(first, 0);
    if (at + kQuad <= view.sealed_begin || at >= view.sealed_end) return;
    fetch_keys(tile(0));
    fetch_values(tile(1));
  }
  __device__ void key_values(int b, float (&x)[8]) const {
    if (!sealed(b)) return row_values(0, b, x);
    const quant::KvFormat format = view.format[0];
    const float scale = scale_of(0, b);
    const int quarter = part % 64 / 4;  // of the channels
    const std::uint32_t codes = word_of(k[0], b), more = word_of(k[1], b);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int byte = byte_of(codes, i % 4), upper = i / 4;
      if (format == quant::KvFormat::kt8) {
        x[i] = scale * static_cast<float>(signed_byte_of(upper == 0 ? codes : more, i % 4));
      } else if (format == quant::KvFormat::kt4) {
        x[i] = scale * levels[0][byte >> (4 * upper) & 15];
      } else {
        int code = byte >> (2 * (quarter % 4 + upper)) & 3;
        if (format == quant::KvFormat::kt3)
          code |= (byte_of(more, i % 4) >> (quarter % 8 + upper) & 1) << 2;
        x[i] = scale * levels[0][code];
      }
    }
  }
  __device__ void value_values(int b, float (&x)[8]) const {
    if (!sealed(b)) return row_values(1, b, x);
    const quant::KvFormat format = view.format[1];
    const bool nibbles = format == quant::KvFormat::kt4;
    const float scale = scale_of(1, b);
    const int row = value_row(), shift = nibbles ? 4 * (row % 2) : 2 * (row % 4);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const std::uint32_t word = word_of(v[i / 4], i % 4);
      if (format == quant::KvFormat::kt8) {
        x[i] = scale * static_cast<float>(signed_byte_of(word, b));
      } else {
        int code = byte_of(word, b) >> shift & (nibbles ? 15 : 3);
        if (format == quant::KvFormat::kt3)
          code |= (byte_of(word_of(v[2 + i / 4], i % 4), b) >> (row % 8) & 1) << 2;
        x[i] = scale * levels[1][code];
      }
    }
  }

 private:
  __device__ bool sealed(int b) const {
    return at + b >= view.sealed_begin && at + b < view.sealed_end;
  }
  __device__ void row_values(int half, int b, float (&x)[8]) const {
#pragma unroll
    for (int i = 0; i < 8; ++i)
      x[i] = at + b < view.end ? view.rows[half].value(at + b, view.head, part + i) : 0.0f;
  }
  __device__ TilePart tile(int half) const {
    return tile_part(view.pages[half], view.format[half], at, view.head, part / 64, kDim / 64);
  }
  __device__ float scale_of(int half, int b) const {
    const std::uint32_t two = b < 2 ? scales[half].x : scales[half].y;
    return __half2float(__ushort_as_half(static_cast<unsigned short>(two >> (16 * (b % 2)))));
  }
  __device__ int value_row() const { return 4 * (part % 64 / 16) + at % kTile / kQuad; }

  /// Word t of 16 bytes has four channels of token t.
  __device__ void fetch_keys(const TilePart& from) {
    const int token = at % kTile, quarter = part % 64 / 4;
    const auto load = [&](int offset) {
      return *reinterpret_cast<const uint4*>(from.codes + offset + 4 * token);
    };
    scales[0] = *reinterpret_cast<const uint2*>(from.scales + token);
    if (view.format[0] == quant::KvFormat::kt8) {
      k[0] = load(64 * quarter);
      k[1] = load(64 * quarter + 64);
    } else if (view.format[0] == quant::KvFormat::kt4) {
      k[0] = load(64 * (quarter / 2));
    } else {
      k[0] = load(64 * (quarter / 4));
      if (view.format[0] == quant::KvFormat::kt3) k[1] = load(256 + 64 * (quarter / 8));
    }
  }
  /// A word has a channel of four tokens.
  __device__ void fetch_values(const TilePart& from) {
    const int row = value_row(), column = 4 * (part % 16);
    const quant::KvFormat format = view.format[1];
    const auto load = [&](int offset) {
      return *reinterpret_cast<const uint4*>(from.codes + offset + column);
    };
    scales[1] = *reinterpret_cast<const uint2*>(from.scales + at % kTile);
    const int first = 64 * (format == quant::KvFormat::kt8   ? row
                            : format == quant::KvFormat::kt4 ? row / 2
                                                             : row / 4);
    v[0] = load(first);
    v[1] = load(first + 16);
    if (format != quant::KvFormat::kt3) return;
    v[2] = load(256 + 64 * (row / 8));
    v[3] = load(256 + 64 * (row / 8) + 16);
  }
};

}  // namespace
}  // namespace runnel::cuda
