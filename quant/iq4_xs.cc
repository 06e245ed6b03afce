// iq4_xs: 256 values in eight parts of 32; codes of iq4_nl, signed 6-bit part scales.
//   value n, part j = n / 32: d * (scale6[j] - 32) * level[nibble]
//   scale6[j]: low four bits in nibble j of scales_l, high two at bit 2 j of scales_h
//   each part has 16 bytes, its first 16 values in the low nibbles
// SOURCE: gguf-py/gguf/quants.py (class IQ4_XS) and ggml-common.h of ggml-org/llama.cpp.
#include "quant/block_io.h"
#include "quant/dtype.h"
#include "quant/half.h"
#include "quant/iq4_levels.h"
#include "quant/search.h"

namespace runnel::quant {
namespace {

struct Block {
  std::uint16_t d;  // f16
  std::uint16_t scales_h;
  std::uint8_t scales_l[4];
  std::uint8_t qs[128];
};
static_assert(sizeof(Block) == info(DType::iq4_xs).block_bytes);

constexpr PartScales kScales{8, -32, 31};
constexpr Candidates kCandidates{0.70f, 0.05f, 10};

}  // namespace

void decode_iq4_xs(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 256, src += sizeof(Block)) {
    const auto block = load_block<Block>(src);
    const float d = f16_to_f32(block.d);
    for (int j = 0; j < kScales.parts; ++j) {
      const int low = block.scales_l[j / 2] >> (4 * (j % 2)) & 15;
      const int high = block.scales_h >> (2 * j) & 3;
      const float scale = d * static_cast<float>((low | high << 4) - 32);
      std::uint8_t codes[32];
      unpack_nibbles(block.qs + 16 * j, 16, codes);
      for (int k = 0; k < 32; ++k)
        dst[i + 32 * j + k] = scale * static_cast<float>(kIq4Levels[codes[k]]);
    }
  }
}

void encode_iq4_xs(const float* src, const float* importance, std::byte* dst, std::int64_t n) {
  Samples samples;
  for (std::int64_t i = 0; i < n; i += 256, dst += sizeof(Block)) {
    load_samples(src + i, importance ? importance + i : nullptr, 256, samples);
    const ScaledBlock best = fit_scaled_block(samples, kIq4, kScales, kCandidates);
    Block block{};
    block.d = best.d;
    for (int j = 0; j < kScales.parts; ++j) {
      const int biased = best.scales[j] + 32;
      block.scales_l[j / 2] = low_byte(block.scales_l[j / 2] | (biased & 15) << (4 * (j % 2)));
      block.scales_h = static_cast<std::uint16_t>(block.scales_h | (biased >> 4) << (2 * j));
      pack_nibbles(best.codes + 32 * j, 16, block.qs + 16 * j);
    }
    store_block(block, dst);
  }
}

}  // namespace runnel::quant
