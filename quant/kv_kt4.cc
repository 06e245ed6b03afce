// kt4: 4 bits a value, 16 levels.
// Levels: Lloyd-Max quantiser of a normal distribution, +-.128 .388 .657
// .942 1.256 1.618 2.069 2.733, to int8. Packing: vector 2j in the low, 2j + 1 in the high half of
// the bytes of chunk j.
#include "quant/kv_codecs.h"
#include "quant/kv_levels.h"

namespace runnel::quant {
namespace {

constexpr KvLevels kLevels{8, 2.733f, {6, 18, 31, 44, 58, 75, 96, 127}};

}  // namespace

void encode_kt4(KvRole role, const float* x, std::byte* codes, std::uint16_t* scales) {
  const KvCodes tile = encode_kv_codes(role, kLevels, x, scales);
  pack_kv_plane(tile, 4, 0, codes);
}

void decode_kt4(KvRole role, const std::byte* codes, const std::uint16_t* scales, float* x) {
  KvCodes tile{};
  unpack_kv_plane(codes, 4, 0, tile);
  decode_kv_codes(role, kLevels, tile, scales, x);
}

}  // namespace runnel::quant
