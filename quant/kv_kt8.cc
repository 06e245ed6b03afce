// kt8: 8 bits a value. Code = signed byte, value = scale * code, scale = largest magnitude / 127
// rounded to f16. A tile is its 16 vectors as they are (kv_tile.h).
#include <algorithm>
#include <cmath>

#include "quant/half.h"
#include "quant/kv_codecs.h"
#include "quant/kv_tile.h"

namespace runnel::quant {
namespace {

float finite(float x) {
  const float above = x > -65504.0f ? x : -65504.0f;  // NaN too
  return above < 65504.0f ? above : 65504.0f;
}

}  // namespace

void encode_kt8(KvRole role, const float* x, std::byte* codes, std::uint16_t* scales) {
  for (int t = 0; t < kKvTileTokens; ++t, x += kKvChannels) {
    float most = 0.0f;
    for (int i = 0; i < kKvChannels; ++i) most = std::max(most, std::fabs(finite(x[i])));
    scales[t] = f32_to_f16(most / 127.0f);
    const float scale = f16_to_f32(scales[t]);
    const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    for (int i = 0; i < kKvChannels; ++i) {
      const float code = std::clamp(std::nearbyint(finite(x[i]) * inverse), -127.0f, 127.0f);
      codes[kv_place(role, t, i)] = static_cast<std::byte>(static_cast<std::int8_t>(code));
    }
  }
}

void decode_kt8(KvRole role, const std::byte* codes, const std::uint16_t* scales, float* x) {
  for (int t = 0; t < kKvTileTokens; ++t)
    for (int i = 0; i < kKvChannels; ++i)
      *x++ = f16_to_f32(scales[t]) *
             static_cast<float>(static_cast<std::int8_t>(codes[kv_place(role, t, i)]));
}

}  // namespace runnel::quant
