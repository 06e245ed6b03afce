// q3_k: 256 values in sixteen parts of 16; 3-bit codes, signed 6-bit part scales.
//   value n, part j = n / 16: d * (scale6[j] - 32) * (q2 - (hbit ? 0 : 4))
//   q2 in the order of q2_k; hbit = bit n / 32 of hmask[n % 32]
//   scale6[j]: low four bits in scales[j % 8] (low nibble for j < 8, high above), high two bits in
//   scales[8 + j % 4] at bit 2 (j / 4)
// SOURCE: gguf-py/gguf/quants.py (class Q3_K) and ggml-common.h of ggml-org/llama.cpp.
#include "quant/block_io.h"
#include "quant/dtype.h"
#include "quant/half.h"
#include "quant/search.h"

namespace runnel::quant {
namespace {

struct Block {
  std::uint8_t hmask[32];
  std::uint8_t qs[64];
  std::uint8_t scales[12];
  std::uint16_t d;  // f16
};
static_assert(sizeof(Block) == info(DType::q3_k).block_bytes);

constexpr Levels kLevels{-4, 3};
constexpr PartScales kScales{16, -32, 31};
constexpr Candidates kCandidates{0.80f, 0.04f, 10};

int part_scale(const std::uint8_t* scales, int j) {
  const int low = j < 8 ? scales[j] & 15 : scales[j - 8] >> 4;
  const int high = (scales[8 + j % 4] >> (2 * (j / 4))) & 3;
  return (low | high << 4) - 32;
}

void pack_part_scale(int scale, int j, std::uint8_t* scales) {
  const int biased = scale + 32;
  scales[j % 8] = low_byte(scales[j % 8] | (biased & 15) << (j < 8 ? 0 : 4));
  scales[8 + j % 4] = low_byte(scales[8 + j % 4] | (biased >> 4) << (2 * (j / 4)));
}

}  // namespace

void decode_q3_k(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 256, src += sizeof(Block)) {
    const auto block = load_block<Block>(src);
    const float d = f16_to_f32(block.d);
    std::uint8_t codes[256];
    unpack_pairs(block.qs, codes);
    for (int j = 0; j < kScales.parts; ++j) {
      const float scale = d * static_cast<float>(part_scale(block.scales, j));
      for (int k = 16 * j; k < 16 * j + 16; ++k) {
        const int high = block.hmask[k % 32] >> (k / 32) & 1;
        dst[i + k] = scale * static_cast<float>(codes[k] + 4 * high - 4);
      }
    }
  }
}

void encode_q3_k(const float* src, const float* importance, std::byte* dst, std::int64_t n) {
  Samples samples;
  for (std::int64_t i = 0; i < n; i += 256, dst += sizeof(Block)) {
    load_samples(src + i, importance ? importance + i : nullptr, 256, samples);
    const ScaledBlock best = fit_scaled_block(samples, kLevels, kScales, kCandidates);
    Block block{};
    block.d = best.d;
    for (int j = 0; j < kScales.parts; ++j) pack_part_scale(best.scales[j], j, block.scales);
    pack_pairs(best.codes, block.qs);
    for (int k = 0; k < 256; ++k)
      block.hmask[k % 32] = low_byte(block.hmask[k % 32] | (best.codes[k] >> 2) << (k / 32));
    store_block(block, dst);
  }
}

}  // namespace runnel::quant
