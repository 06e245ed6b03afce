// Codes of tiles as operands of m16n8k16 products in f16. Levels are whole numbers up to 127, which
// f16 holds: what is rounded is the other operand alone.
//
// A warp takes 32 keys, two tiles. Of keys a lane (g = lane / 4, c = lane % 4) holds four tokens
// and, in each product, four channels of them; of values eight tokens and two channels in each
// product. SOURCE: where codes lie, quant/kv_tile.h; operands, PTX ISA, "Matrix Fragments for
// mma.m16n8k16".
#pragma once
#include "backends/cuda/kernels/kv_rows.cuh"

namespace runnel::cuda {

constexpr int kKeyBatch = 2 * kTile;  // keys that a warp takes at once
constexpr int kPart = 64;             // channels of a tile

/// First of the eight keys of a batch whose scores and values a lane has.
__device__ inline int own_key(int c) {
  return kTile * (c % 2) + 8 * (c / 2);
}
/// First of the four keys of a batch that a lane multiplies with queries.
__device__ inline int loaded_key(int g) {
  return own_key(g / 2) + 4 * (g % 2);
}

__device__ inline std::uint32_t permute(std::uint32_t a, std::uint32_t b, std::uint32_t selector) {
  std::uint32_t r;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(selector));
  return r;
}

/// Two of four levels + 128 as f16: 0x6400 + u is 1024 + u.
__device__ inline std::uint32_t two_levels(std::uint32_t bytes, std::uint32_t selector) {
  const std::uint32_t biased = permute(bytes, 0x64646464u, selector);
  const __half2 two = __hsub2(reinterpret_cast<const __half2&>(biased), __float2half2_rn(1152.0f));
  return reinterpret_cast<const std::uint32_t&>(two);
}

/// Levels + 128 of the codes in the nibbles of a word: of bytes 0 and 1 in r[0], 2 and 3 in r[1].
struct NibbleLevels {
  std::uint32_t r[2];

  /// Those of all low (0) or high (1) nibbles.
  __device__ void put(int nibble, std::uint32_t (&b)[2]) const {
    b[0] = two_levels(r[0], 0x4240u + 0x0101u * nibble);
    b[1] = two_levels(r[1], 0x4240u + 0x0101u * nibble);
  }
};

/// Level + 128 of codes first to first + 3.
template <quant::KvFormat format>
__device__ constexpr std::uint32_t four_levels(int first) {
  constexpr TileLevels levels = tile_levels(format);
  std::uint32_t word = 0;
  for (int i = 3; i >= 0; --i) {
    const int code = first + i, n = levels.n;
    const int level = code >= 2 * n ? 0
                      : code >= n   ? levels.level[code - n]
                                    : -levels.level[n - 1 - code];
    word = word << 8 | static_cast<std::uint32_t>(level + 128);
  }
  return word;
}

/// Sixteen levels: a selector of permute() has three bits, the fourth chooses between two tables.
__device__ inline NibbleLevels levels_of_nibbles(std::uint32_t word) {
  constexpr quant::KvFormat kt4 = quant::KvFormat::kt4;
  constexpr std::uint32_t kTable[4] = {four_levels<kt4>(0), four_levels<kt4>(4),
                                       four_levels<kt4>(8), four_levels<kt4>(12)};
  const std::uint32_t low = word & 0x77777777u, up = word << 4;
  NibbleLevels out;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::uint32_t selector = low >> (16 * half);
    // A selector of 8 and more repeats the sign of a byte.
    const std::uint32_t upper = permute(up, word, half == 0 ? 0xD9C8u : 0xFBEAu);
    out.r[half] = (permute(kTable[2], kTable[3], selector) & upper) |
                  (permute(kTable[0], kTable[1], selector) & ~upper);
  }
  return out;
}

/// Codes in bits 0, 1 and 4, 5 of each byte; their third bits, if any, in bits 0 and 2 of `third`.
template <quant::KvFormat format>
__device__ NibbleLevels levels_of_fields(std::uint32_t word, std::uint32_t third) {
  std::uint32_t selector = word & 0x33333333u;
  if constexpr (format == quant::KvFormat::kt3)
    selector |= (third & 0x01010101u) << 2 | (third & 0x04040404u) << 4;
  constexpr std::uint32_t kTable[2] = {four_levels<format>(0), four_levels<format>(4)};
  return {{permute(kTable[0], kTable[1], selector), permute(kTable[0], kTable[1], selector >> 16)}};
}

/// The first of the four channels that a lane has in product m of keys.
struct KeyChannels {
  int second, odd, lane;
  __device__ constexpr int operator()(int m, int c) const {
    return m / 2 * second + m % 2 * odd + c * lane;
  }
};

/// Codes of 64 channels of a batch:
///   kChannels          the channels that a lane has in products of keys
///   key_at(i, c)       where word i of a lane's first token lies; its next tokens' follow
///   keys(w, c, b)      w: one token's words; b[m]: operand of product m
///   value_at(i, c)     where word i of channel 0 lies; channels 16 j + d are d words behind
///   values(w, c, b)    w: one channel's words of each 16; b[j][n]: operand of 16 channels j and
///   the
///                      lane's tokens 4 n to 4 n + 3
template <quant::KvFormat format>
struct Codes {  // kt2 and kt3
  static constexpr bool kThird = format == quant::KvFormat::kt3;
  static constexpr int kKeyWords = kThird ? 2 : 1, kValueWords = kThird ? 6 : 4;
  static constexpr KeyChannels kChannels{8, 4, 16};
  __device__ static int key_at(int i, int c) { return i == 0 ? 64 * c : 256 + 64 * (c / 2); }
  __device__ static int value_at(int i, int) { return i < 4 ? 64 * i : 256 + 64 * (i - 4); }
  __device__ static void keys(const std::uint32_t (&w)[kKeyWords],
                              int c,
                              std::uint32_t (&b)[4][2]) {
    const std::uint32_t third = w[kKeyWords - 1] >> (4 * (c % 2));
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const NibbleLevels levels = levels_of_fields<format>(w[0] >> (2 * k), third >> k);
      levels.put(0, b[k]);
      levels.put(1, b[2 + k]);
    }
  }
  __device__ static void values(const std::uint32_t (&w)[kValueWords],
                                int c,
                                std::uint32_t (&b)[4][2][2]) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const std::uint32_t third = kThird ? w[kThird ? 4 + j / 2 : 0] >> (4 * (j % 2)) : 0;
#pragma unroll
      for (int n = 0; n < 2; ++n)
        levels_of_fields<format>(w[j] >> (2 * n), third >> n).put(c / 2, b[j][n]);
    }
  }
};

template <>
struct Codes<quant::KvFormat::kt4> {
  static constexpr int kKeyWords = 2, kValueWords = 4;
  static constexpr KeyChannels kChannels{32, 4, 8};
  __device__ static int key_at(int i, int c) { return 64 * (4 * i + c); }
  __device__ static int value_at(int i, int c) { return 64 * (2 * i + c / 2); }
  __device__ static void keys(const std::uint32_t (&w)[2], int, std::uint32_t (&b)[4][2]) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const NibbleLevels levels = levels_of_nibbles(w[i]);
      levels.put(0, b[2 * i]);
      levels.put(1, b[2 * i + 1]);
    }
  }
  __device__ static void values(const std::uint32_t (&w)[4], int, std::uint32_t (&b)[4][2][2]) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const NibbleLevels levels = levels_of_nibbles(w[j]);
      levels.put(0, b[j][0]);
      levels.put(1, b[j][1]);
    }
  }
};

template <>
struct Codes<quant::KvFormat::kt8> {
  static constexpr int kKeyWords = 4, kValueWords = 8;
  static constexpr KeyChannels kChannels{32, 16, 4};
  __device__ static int key_at(int i, int c) { return 64 * (4 * i + c); }
  __device__ static int value_at(int i, int c) { return 64 * (4 * (i / 2) + 2 * (c / 2) + i % 2); }
  __device__ static void put(std::uint32_t word, std::uint32_t (&b)[2]) {
    b[0] = two_levels(word ^ 0x80808080u, 0x4140u);
    b[1] = two_levels(word ^ 0x80808080u, 0x4342u);
  }
  __device__ static void keys(const std::uint32_t (&w)[4], int, std::uint32_t (&b)[4][2]) {
#pragma unroll
    for (int m = 0; m < 4; ++m) put(w[m], b[m]);
  }
  __device__ static void values(const std::uint32_t (&w)[8], int, std::uint32_t (&b)[4][2][2]) {
#pragma unroll
    for (int i = 0; i < 8; ++i) put(w[i], b[i / 2][i % 2]);
  }
};

/// body(Codes<format>{})
template <class Body>
__device__ void with_codes(quant::KvFormat format, Body body) {
  if (format == quant::KvFormat::kt8) return body(Codes<quant::KvFormat::kt8>{});
  if (format == quant::KvFormat::kt4) return body(Codes<quant::KvFormat::kt4>{});
  if (format == quant::KvFormat::kt3) return body(Codes<quant::KvFormat::kt3>{});
  body(Codes<quant::KvFormat::kt2>{});
}

__device__ inline KeyChannels channels_of(quant::KvFormat format) {
  KeyChannels channels{};
  with_codes(format, [&](auto codes) { channels = codes.kChannels; });
  return channels;
}

}  // namespace runnel::cuda
