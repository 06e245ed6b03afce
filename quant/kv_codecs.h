// Tile codecs: how each KV format becomes f32 and back. The plain truth that every kernel is
// compared with. Stateless, thread-safe.
#pragma once
#include <cstddef>
#include <cstdint>

#include "quant/kv_format.h"

namespace runnel::quant {

/// Decode and encode of one format. A tile's codes are kv_tile_bytes(format) bytes.
struct KvCodec {
  KvFormat format;
  /// x: [16][64] f32 -> codes and 16 scales (f16).
  void (*encode_tile)(KvRole role, const float* x, std::byte* codes, std::uint16_t* scales);
  /// The reverse.
  void (*decode_tile)(KvRole role, const std::byte* codes, const std::uint16_t* scales, float* x);
};

/// The codec of `format`. REQUIRES: a format with tiles.
const KvCodec& kv_codec(KvFormat format);

/// Tile `tile` (0..3) of the block at `block`: its codes, and its scales.
inline std::byte* kv_tile_codes(KvFormat format, std::byte* block, int tile) {
  return block + static_cast<std::size_t>(tile) * kv_tile_bytes(format);
}
inline std::uint16_t* kv_tile_scales(KvFormat format, std::byte* block, int tile) {
  return reinterpret_cast<std::uint16_t*>(block + kv_scales_offset(format)) + tile * kKvTileTokens;
}

}  // namespace runnel::quant
