// Formats of a quantised KV cache: one constexpr row per format, the layout of a page, and which
// format each attention layer gets. Shared by the cache, the graph and the kernels.
//
// A vector is 64 channels of one head of one token. A tile is the vectors of 16 consecutive tokens:
// codes, and one f16 scale per vector; value = scale * level(code). A block is the four tiles of a
// page of 64 tokens: [codes of 4 tiles][64 scales f16], a multiple of 64 bytes. A page of K or of V
// is [head][part of 64 channels] blocks.
#pragma once
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "quant/dtype.h"

namespace runnel::quant {

enum class KvFormat : std::uint8_t { plain, kt8, kt4, kt3, kt2, count };

/// Which way round a tile is packed. SOURCE of the layouts: quant/kv_tile.h.
enum class KvRole : std::uint8_t { k, v };

inline constexpr int kKvTileTokens = 16;
inline constexpr int kKvChannels = 64;  // of a vector
inline constexpr int kKvBlockTiles = 4;
inline constexpr int kKvBlockTokens = kKvTileTokens * kKvBlockTiles;

/// Geometry of one format.
struct KvFormatInfo {
  KvFormat format;
  std::string_view name;
  int bits;           // of a code; plain: rows of the page's own number type, no tiles
  float error_bound;  // squared error / squared size of Gaussian vectors, at most
};

// clang-format off: one row per format, aligned
inline constexpr std::array kKvFormats = std::to_array<KvFormatInfo>({
    {KvFormat::plain, "plain", 0, 0.0f},
    {KvFormat::kt8, "kt8", 8, 3.8e-5f},
    {KvFormat::kt4, "kt4", 4, 7.4e-3f},
    {KvFormat::kt3, "kt3", 3, 3.1e-2f},
    {KvFormat::kt2, "kt2", 2, 1.16e-1f},
});
// clang-format on

consteval bool kv_formats_are_in_enum_order() {
  for (std::size_t i = 0; i < kKvFormats.size(); ++i)
    if (kKvFormats[i].format != static_cast<KvFormat>(i)) return false;
  return kKvFormats.size() == static_cast<std::size_t>(KvFormat::count);
}
static_assert(kv_formats_are_in_enum_order());

constexpr const KvFormatInfo& info(KvFormat format) {
  return kKvFormats[static_cast<std::size_t>(format)];
}

/// Bytes of the codes of a tile.
constexpr std::size_t kv_tile_bytes(KvFormat format) {
  constexpr std::size_t kCodes = kKvTileTokens * kKvChannels;
  return kCodes / 8 * static_cast<std::size_t>(info(format).bits);
}
/// Bytes of a block: codes of four tiles, then 64 scales.
constexpr std::size_t kv_block_bytes(KvFormat format) {
  return kKvBlockTiles * kv_tile_bytes(format) + kKvBlockTokens * sizeof(std::uint16_t);
}
/// Byte offset of the first scale in a block.
constexpr std::size_t kv_scales_offset(KvFormat format) {
  return kKvBlockTiles * kv_tile_bytes(format);
}

/// Tokens kept in f16 whatever the format.
inline constexpr int kKvSinkTokens = 16;     // the first: attention leans on them
inline constexpr int kKvRecentTokens = 128;  // the newest that a token sees, itself included

/// K and V format of one attention layer.
struct KvPair {
  KvFormat k = KvFormat::plain, v = KvFormat::plain;
  auto operator<=>(const KvPair&) const = default;  // NOLINT: no pointer
};

/// Which steps read only some pages of a long tiled cache, and how many (kv_sparse.h).
struct KvSparse {
  bool decode = false;                                // steps of one token
  bool prefill = false;                               // steps of several tokens
  std::int32_t from = 16384;                          // tokens in the cache from which on
  std::int32_t pages = 16;                            // that each query head chooses
  auto operator<=>(const KvSparse&) const = default;  // NOLINT: no pointer
  bool any() const { return decode || prefill; }
};

/// What a cache holds: rows of a plain type, or tiles. Comparable, so that plans can be kept by it.
struct KvPolicy {
  DType rows = DType::f16;  // plain only
  KvPair pair;              // of most layers
  KvPair edge;              // of the first and the last attention layer
  bool sinks = true;        // the first 16 tokens stay in f16
  bool recent = true;       // so do the newest 128
  bool rotate = true;       // signed Hadamard transform of q, k and v
  KvSparse sparse = {};     // tiles only
  bool streaming = false;   // tiles only: heads that the model file names keep no tiles
  auto operator<=>(const KvPolicy&) const = default;  // NOLINT: no pointer

  bool tiled() const { return pair.k != KvFormat::plain; }
  /// Formats of attention layer number `ordinal` of `n`, counted among attention layers.
  KvPair layer(std::int64_t ordinal, std::int64_t n) const {
    return ordinal == 0 || ordinal == n - 1 ? edge : pair;
  }
  int sink_tokens() const { return sinks ? kKvSinkTokens : 0; }
  int recent_tokens() const { return recent ? kKvRecentTokens : 0; }
};

/// Plain rows of `rows`.
constexpr KvPolicy plain_kv(DType rows) {
  KvPolicy policy;
  policy.rows = rows;
  return policy;
}

/// "f16", "f32", a preset (kv8, kv6, kv4, kv3, kv2), or K and V apart: "k8v4" with bits 8, 4, 3, 2.
/// Nothing for other text.
std::optional<KvPolicy> parse_kv_policy(std::string_view text);
/// The texts that parse_kv_policy() takes, for messages.
std::string_view kv_policy_names();

/// Row of a place in the cache in a window of `slots` rows: sinks first, then a ring of the newest.
/// The ring goes by position, which is `gap` more than the place behind dropped tokens, so that a
/// drop moves no row.
constexpr std::int64_t kv_window_slot(std::int64_t place,
                                      std::int64_t slots,
                                      std::int64_t sinks,
                                      std::int64_t gap) {
  return place < sinks ? place : kKvSinkTokens + (place + gap) % (slots - kKvSinkTokens);
}

/// First token that a token at `position` sees in f16 (besides sinks): tiles before it are wholly
/// older than `recent` tokens. Depends on the position alone, never on how a sequence is cut.
constexpr std::int64_t kv_sealed_before(std::int64_t position, std::int64_t recent) {
  const std::int64_t old = position + 1 - recent;
  return old <= 0 ? 0 : old / kKvTileTokens * kKvTileTokens;
}

}  // namespace runnel::quant
