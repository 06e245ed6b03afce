// kt3: 3 bits a value, 8 levels.
// Levels: Lloyd-Max quantiser of a normal distribution, +-.2451 .7560 1.3439 2.1519, to int8.
// Packing: the two low bits as kt2; then bit p of chunk j: the high bit of vector 8j + p.
#include "quant/kv_codecs.h"
#include "quant/kv_levels.h"

namespace runnel::quant {
namespace {

constexpr KvLevels kLevels{4, 2.1519f, {14, 45, 79, 127}};

}  // namespace

void encode_kt3(KvRole role, const float* x, std::byte* codes, std::uint16_t* scales) {
  const KvCodes tile = encode_kv_codes(role, kLevels, x, scales);
  pack_kv_plane(tile, 2, 0, codes);
  pack_kv_plane(tile, 1, 2, codes + kKvTileCodes / 4);
}

void decode_kt3(KvRole role, const std::byte* codes, const std::uint16_t* scales, float* x) {
  KvCodes tile{};
  unpack_kv_plane(codes, 2, 0, tile);
  unpack_kv_plane(codes + kKvTileCodes / 4, 1, 2, tile);
  decode_kv_codes(role, kLevels, tile, scales, x);
}

}  // namespace runnel::quant
