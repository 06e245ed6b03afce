#include "backends/vulkan/weight_layout.h"

#include <algorithm>
#include <cstring>

#include "runtime/base/checked.h"

namespace runnel::vulkan {
namespace {

using Planes = std::array<std::byte*, 4>;
constexpr std::int64_t kGroup = 32, kSuper = 8;  // values, groups

const std::uint8_t* bytes_of(const std::byte* p) {
  return reinterpret_cast<const std::uint8_t*>(p);
}
std::uint8_t* bytes_of(std::byte* p) {
  return reinterpret_cast<std::uint8_t*>(p);
}
std::uint8_t low(int value) {
  return static_cast<std::uint8_t>(value & 0xFF);
}

/// Copies one field of every block: `size` bytes at `at` of blocks of `stride` bytes.
void copy_field(const std::byte* row,
                std::int64_t n,
                std::size_t stride,
                std::size_t at,
                std::size_t size,
                std::byte* to) {
  for (std::int64_t i = 0; i < n; ++i, row += stride, to += size) std::memcpy(to, row + at, size);
}

void pack_q4_0(const std::byte* row, std::int64_t n, Planes& to) {  // iq4_nl too
  copy_field(row, n, 18, 2, 16, to[0]);
  copy_field(row, n, 18, 0, 2, to[1]);
}
void pack_q4_1(const std::byte* row, std::int64_t n, Planes& to) {
  copy_field(row, n, 20, 4, 16, to[0]);
  copy_field(row, n, 20, 0, 4, to[1]);
}
void pack_q5_0(const std::byte* row, std::int64_t n, Planes& to) {
  copy_field(row, n, 22, 6, 16, to[0]);
  copy_field(row, n, 22, 2, 4, to[1]);
  copy_field(row, n, 22, 0, 2, to[2]);
}
void pack_q5_1(const std::byte* row, std::int64_t n, Planes& to) {
  copy_field(row, n, 24, 8, 16, to[0]);
  copy_field(row, n, 24, 4, 4, to[1]);
  copy_field(row, n, 24, 0, 4, to[2]);
}
void pack_mxfp4(const std::byte* row, std::int64_t n, Planes& to) {
  copy_field(row, n, 17, 1, 16, to[0]);
  copy_field(row, n, 17, 0, 1, to[1]);
}

void pack_q8_0(const std::byte* row, std::int64_t n, Planes& to) {
  for (std::int64_t piece = 0; piece < 2; ++piece)
    for (std::int64_t g = 0; g < n; ++g) {
      const std::uint8_t* codes = bytes_of(row) + 34 * g + 2 + 16 * piece;
      std::uint8_t* out = bytes_of(to[0]) + 16 * (piece * n + g);
      for (int i = 0; i < 16; ++i) out[i] = low(codes[i] ^ 0x80);
    }
  copy_field(row, n, 34, 0, 2, to[1]);
}

/// 64 values whose nibbles lie as in q4_k: two groups as in q4_0.
void split_chunk(const std::uint8_t* codes, std::uint8_t* out) {
  for (int i = 0; i < 16; ++i) {
    out[i] = low((codes[i] & 15) | codes[i + 16] << 4);
    out[16 + i] = low(codes[i] >> 4 | (codes[i + 16] & 0xF0));
  }
}

/// Bit `bit` of 32 bytes as a word, byte i at bit i.
void gather_bits(const std::uint8_t* bytes, int bit, std::byte* to) {
  std::uint32_t word = 0;
  for (int i = 0; i < 32; ++i) word |= static_cast<std::uint32_t>(bytes[i] >> bit & 1) << i;
  std::memcpy(to, &word, sizeof(word));
}

/// The 32 two-bit codes at `shift` of 32 bytes (order of q2_k) as 8 bytes in order.
void gather_pairs(const std::uint8_t* bytes, int shift, std::uint8_t* out) {
  for (int i = 0; i < 8; ++i) {
    const std::uint8_t* four = bytes + 4 * i;
    out[i] = low((four[0] >> shift & 3) | (four[1] >> shift & 3) << 2 |
                 (four[2] >> shift & 3) << 4 | (four[3] >> shift & 3) << 6);
  }
}

void pack_q4_k(const std::byte* row, std::int64_t n, Planes& to) {
  for (std::int64_t b = 0; b < n / kSuper; ++b)
    for (int chunk = 0; chunk < 4; ++chunk)
      split_chunk(bytes_of(row) + 144 * b + 16 + 32 * chunk,
                  bytes_of(to[0]) + 128 * b + 32 * chunk);
  copy_field(row, n / kSuper, 144, 0, 16, to[1]);
}

void pack_q5_k(const std::byte* row, std::int64_t n, Planes& to) {
  for (std::int64_t b = 0; b < n / kSuper; ++b) {
    const std::uint8_t* block = bytes_of(row) + 176 * b;
    for (int chunk = 0; chunk < 4; ++chunk)
      split_chunk(block + 48 + 32 * chunk, bytes_of(to[0]) + 128 * b + 32 * chunk);
    for (int g = 0; g < kSuper; ++g) gather_bits(block + 16, g, to[1] + 4 * (kSuper * b + g));
  }
  copy_field(row, n / kSuper, 176, 0, 16, to[2]);
}

void pack_q6_k(const std::byte* row, std::int64_t n, Planes& to) {
  for (std::int64_t b = 0; b < n / kSuper; ++b) {
    const std::uint8_t* block = bytes_of(row) + 210 * b;
    for (int g = 0; g < kSuper; ++g) {
      const std::uint8_t* half = block + 64 * (g / 4);  // 128 values
      const std::uint8_t* codes = half + 32 * (g % 2);
      const int shift = g % 4 < 2 ? 0 : 4;
      std::uint8_t* out = bytes_of(to[0]) + 16 * (kSuper * b + g);
      for (int i = 0; i < 16; ++i)
        out[i] = low((codes[i] >> shift & 15) | (codes[i + 16] >> shift & 15) << 4);
      gather_pairs(block + 128 + 32 * (g / 4), 2 * (g % 4), bytes_of(to[1]) + 8 * (kSuper * b + g));
    }
  }
  copy_field(row, n / kSuper, 210, 192, 16, to[2]);
  copy_field(row, n / kSuper, 210, 208, 2, to[3]);
}

void pack_q2_k(const std::byte* row, std::int64_t n, Planes& to) {
  for (std::int64_t b = 0; b < n / kSuper; ++b)
    for (int g = 0; g < kSuper; ++g)
      gather_pairs(bytes_of(row) + 84 * b + 16 + 32 * (g / 4), 2 * (g % 4),
                   bytes_of(to[0]) + 8 * (kSuper * b + g));
  copy_field(row, n / kSuper, 84, 0, 16, to[1]);
  copy_field(row, n / kSuper, 84, 80, 4, to[2]);
}

void pack_q3_k(const std::byte* row, std::int64_t n, Planes& to) {
  for (std::int64_t b = 0; b < n / kSuper; ++b) {
    const std::uint8_t* block = bytes_of(row) + 110 * b;
    const std::uint8_t* scales = block + 96;
    for (int g = 0; g < kSuper; ++g) {
      gather_pairs(block + 32 + 32 * (g / 4), 2 * (g % 4), bytes_of(to[0]) + 8 * (kSuper * b + g));
      gather_bits(block, g, to[1] + 4 * (kSuper * b + g));
    }
    for (int j = 0; j < 16; ++j) {
      const int four = j < 8 ? scales[j] & 15 : scales[j - 8] >> 4;
      const int two = scales[8 + j % 4] >> (2 * (j / 4)) & 3;
      bytes_of(to[2])[16 * b + j] = low((four | two << 4) - 32);
    }
  }
  copy_field(row, n / kSuper, 110, 108, 2, to[3]);
}

void pack_iq4_xs(const std::byte* row, std::int64_t n, Planes& to) {
  for (std::int64_t b = 0; b < n / kSuper; ++b) {
    const std::uint8_t* block = bytes_of(row) + 136 * b;
    const int high = block[2] | block[3] << 8;
    std::memcpy(to[0] + 128 * b, block + 8, 128);
    for (int j = 0; j < kSuper; ++j) {
      const int four = block[4 + j / 2] >> (4 * (j % 2)) & 15;
      bytes_of(to[1])[kSuper * b + j] = low((four | (high >> (2 * j) & 3) << 4) - 32);
    }
  }
  copy_field(row, n / kSuper, 136, 0, 2, to[2]);
}

void pack_tq2_0(const std::byte* row, std::int64_t n, Planes& to) {
  for (std::int64_t b = 0; b < n / kSuper; ++b)
    for (int g = 0; g < kSuper; ++g)
      gather_pairs(bytes_of(row) + 66 * b + 32 * (g / 4), 2 * (g % 4),
                   bytes_of(to[0]) + 8 * (kSuper * b + g));
  copy_field(row, n / kSuper, 66, 64, 2, to[1]);
}

/// Unpacked to the planes of tq2_0: five digits of base 3 in a byte are slow to take apart.
void pack_tq1_0(const std::byte* row, std::int64_t n, Planes& to) {
  constexpr int kPowers[5] = {1, 3, 9, 27, 81};
  for (std::int64_t b = 0; b < n / kSuper; ++b) {
    const std::uint8_t* block = bytes_of(row) + 54 * b;
    std::uint8_t codes[256];
    for (int v = 0; v < 256; ++v) {
      const int byte = v < 160 ? v % 32 : v < 240 ? 32 + (v - 160) % 16 : 48 + (v - 240) % 4;
      const int digit = v < 160 ? v / 32 : v < 240 ? (v - 160) / 16 : (v - 240) / 4;
      codes[v] = low((block[byte] * kPowers[digit] & 255) * 3 >> 8);
    }
    for (int i = 0; i < 64; ++i)
      bytes_of(to[0])[64 * b + i] =
          low(codes[4 * i] | codes[4 * i + 1] << 2 | codes[4 * i + 2] << 4 | codes[4 * i + 3] << 6);
  }
  copy_field(row, n / kSuper, 54, 52, 2, to[1]);
}

void pack_nvfp4(const std::byte* row, std::int64_t n, Planes& to) {
  for (std::int64_t g = 0; g < n; ++g) {
    const std::uint8_t* block = bytes_of(row) + 36 * (g / 2);
    const std::uint8_t* codes = block + 4 + 16 * (g % 2);  // two parts of 16 values, 8 bytes each
    std::uint8_t* out = bytes_of(to[0]) + 16 * g;
    for (int i = 0; i < 8; ++i) {
      out[i] = low((codes[i] & 15) | codes[8 + i] << 4);
      out[8 + i] = low(codes[i] >> 4 | (codes[8 + i] & 0xF0));
    }
    std::memcpy(to[1] + 2 * g, block + 2 * (g % 2), 2);
  }
}

// clang-format off: one row per format, aligned
constexpr std::array kFormats = std::to_array<WeightFormat>({
    {DType::f32, "f32", {{{128}}}, nullptr},
    {DType::f16, "f16", {{{64}}}, nullptr},
    {DType::bf16, "bf16", {{{64}}}, nullptr},
    {DType::i32, "", {}, nullptr},
    {DType::q4_0, "q4_0", {{{16}, {2}}}, pack_q4_0},
    {DType::q4_1, "q4_1", {{{16}, {4}}}, pack_q4_1},
    {DType::q5_0, "q5_0", {{{16}, {4}, {2}}}, pack_q5_0},
    {DType::q5_1, "q5_1", {{{16}, {4}, {4}}}, pack_q5_1},
    {DType::q8_0, "q8_0", {{{32}, {2}}}, pack_q8_0},
    {DType::q2_k, "q2_k", {{{8}, {2}, {4, true}}}, pack_q2_k},
    {DType::q3_k, "q3_k", {{{8}, {4}, {2}, {2, true}}}, pack_q3_k},
    {DType::q4_k, "q4_k", {{{16}, {16, true}}}, pack_q4_k},
    {DType::q5_k, "q5_k", {{{16}, {4}, {16, true}}}, pack_q5_k},
    {DType::q6_k, "q6_k", {{{16}, {8}, {2}, {2, true}}}, pack_q6_k},
    {DType::iq4_nl, "iq4_nl", {{{16}, {2}}}, pack_q4_0},
    {DType::iq4_xs, "iq4_xs", {{{16}, {1}, {2, true}}}, pack_iq4_xs},
    {DType::tq1_0, "tq2_0", {{{8}, {2, true}}}, pack_tq1_0},
    {DType::tq2_0, "tq2_0", {{{8}, {2, true}}}, pack_tq2_0},
    {DType::mxfp4, "mxfp4", {{{16}, {1}}}, pack_mxfp4},
    {DType::nvfp4, "nvfp4", {{{16}, {2}}}, pack_nvfp4},
});
// clang-format on

consteval bool table_is_in_enum_order() {
  for (std::size_t i = 0; i < kFormats.size(); ++i)
    if (kFormats[i].type != static_cast<DType>(i)) return false;
  return kFormats.size() == static_cast<std::size_t>(DType::count);
}
static_assert(table_is_in_enum_order());

/// Rows of plain types: groups of 32 values in pieces of 16 bytes, the last group padded with
/// zeros.
void pack_plain(const WeightLayout& layout, const std::byte* row, std::byte* to) {
  const std::size_t group = layout.format->planes[0].bytes;
  const std::size_t bytes = layout.format->type == DType::f32
                                ? static_cast<std::size_t>(layout.cols) * 4
                                : static_cast<std::size_t>(layout.cols) * 2;
  const auto n = static_cast<std::size_t>(layout.groups);
  for (std::size_t piece = 0; piece < group / 16; ++piece)
    for (std::size_t g = 0; g < n; ++g, to += 16) {
      const std::size_t at = g * group + piece * 16;
      const std::size_t there = at < bytes ? std::min<std::size_t>(16, bytes - at) : 0;
      if (there < 16) std::memset(to, 0, 16);
      if (there > 0) std::memcpy(to, row + at, there);
    }
}

}  // namespace

const WeightFormat& weight_format(DType type) {
  return kFormats[static_cast<std::size_t>(type)];
}

bool becomes_f32(const Value& weight) {
  constexpr std::int64_t kShortRow = 16;  // filters of convolutions
  return weight.shape.rank == 1 || weight.shape.cols() <= kShortRow;
}

std::size_t WeightLayout::row_bytes(std::size_t plane) const {
  const PlaneInfo& info = format->planes[plane];
  return static_cast<std::size_t>(info.per_super ? groups / kSuper : groups) * info.bytes;
}

WeightLayout weight_layout(const Value& weight) {
  WeightLayout layout;
  const bool plain = becomes_f32(weight);
  layout.format = &weight_format(plain ? DType::f32 : weight.dtype);
  layout.rows = weight.shape.rows();
  layout.cols = weight.shape.cols();
  layout.groups = (layout.cols + kGroup - 1) / kGroup;
  if (weight.shape.rank == 1) {
    layout.bytes = static_cast<std::size_t>(layout.cols) * sizeof(float);
    return layout;
  }
  for (std::size_t i = 0; i < 4; ++i) {
    layout.offset[i] = layout.bytes;
    layout.bytes += align_up(layout.row_bytes(i) * static_cast<std::size_t>(layout.rows), 16);
  }
  return layout;
}

void pack_rows(const WeightLayout& layout,
               std::span<const std::byte> mapped,
               std::int64_t first,
               std::int64_t last,
               std::array<std::byte*, 4> to) {
  const std::size_t bytes =
      quant::row_bytes(layout.format->type, static_cast<std::size_t>(layout.cols));
  for (std::int64_t row = first; row < last; ++row) {
    const std::byte* from = mapped.data() + static_cast<std::size_t>(row) * bytes;
    if (layout.format->pack == nullptr)
      pack_plain(layout, from, to[0]);
    else
      layout.format->pack(from, layout.groups, to);
    for (std::size_t i = 0; i < 4; ++i)
      if (to[i] != nullptr) to[i] += layout.row_bytes(i);
  }
}

}  // namespace runnel::vulkan
