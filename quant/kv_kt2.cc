// kt2: 2 bits a value, 4 levels.
// Levels: Lloyd-Max quantiser of a normal distribution, +-.4528 1.5104, to int8.
// Packing: vector 4j + p in bits 2p and 2p + 1 of the bytes of chunk j.
#include "quant/kv_codecs.h"
#include "quant/kv_levels.h"

namespace runnel::quant {
namespace {

constexpr KvLevels kLevels{2, 1.5104f, {38, 127}};

}  // namespace

void encode_kt2(KvRole role, const float* x, std::byte* codes, std::uint16_t* scales) {
  const KvCodes tile = encode_kv_codes(role, kLevels, x, scales);
  pack_kv_plane(tile, 2, 0, codes);
}

void decode_kt2(KvRole role, const std::byte* codes, const std::uint16_t* scales, float* x) {
  KvCodes tile{};
  unpack_kv_plane(codes, 2, 0, tile);
  decode_kv_codes(role, kLevels, tile, scales, x);
}

}  // namespace runnel::quant
