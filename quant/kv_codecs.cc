// The table of tile codecs. Each format's two functions live in quant/kv_<format>.cc.
#include "quant/kv_codecs.h"

#include <array>

namespace runnel::quant {

namespace {
using Encode = void(KvRole role, const float* x, std::byte* codes, std::uint16_t* scales);
using Decode = void(KvRole role, const std::byte* codes, const std::uint16_t* scales, float* x);
}  // namespace

// clang-format off: one line per format
Encode encode_kt8;
Decode decode_kt8;
Encode encode_kt4;
Decode decode_kt4;
Encode encode_kt3;
Decode decode_kt3;
Encode encode_kt2;
Decode decode_kt2;

namespace {

constexpr std::array kCodecs = std::to_array<KvCodec>({
    {KvFormat::plain, nullptr, nullptr},
    {KvFormat::kt8, encode_kt8, decode_kt8},
    {KvFormat::kt4, encode_kt4, decode_kt4},
    {KvFormat::kt3, encode_kt3, decode_kt3},
    {KvFormat::kt2, encode_kt2, decode_kt2},
});
// clang-format on

consteval bool codecs_follow_the_format_table() {
  for (std::size_t i = 0; i < kCodecs.size(); ++i)
    if (kCodecs[i].format != kKvFormats[i].format) return false;
  return kCodecs.size() == kKvFormats.size();
}
static_assert(codecs_follow_the_format_table());

}  // namespace

const KvCodec& kv_codec(KvFormat format) {
  return kCodecs[static_cast<std::size_t>(format)];
}

}  // namespace runnel::quant
