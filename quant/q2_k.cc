// q2_k: 256 values in sixteen parts of 16; 2-bit codes, 4-bit part scales and minimums.
//   value n, part j = n / 16: d * (scales[j] & 15) * q - dmin * (scales[j] >> 4)
//   q: half h = n / 128, r = n % 128: (qs[32 h + r % 32] >> 2 (r / 32)) & 3
// SOURCE: gguf-py/gguf/quants.py (class Q2_K) and ggml-common.h of ggml-org/llama.cpp.
#include "quant/block_io.h"
#include "quant/dtype.h"
#include "quant/half.h"
#include "quant/search.h"

namespace runnel::quant {
namespace {

struct Block {
  std::uint8_t scales[16];  // scale below, minimum above
  std::uint8_t qs[64];
  std::uint16_t d;     // f16, of the scales
  std::uint16_t dmin;  // f16, of the minimums
};
static_assert(sizeof(Block) == info(DType::q2_k).block_bytes);

constexpr int kParts = 16;
constexpr int kLast = 3;
constexpr int kHighestScale = 15;

}  // namespace

void decode_q2_k(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 256, src += sizeof(Block)) {
    const auto block = load_block<Block>(src);
    const float d = f16_to_f32(block.d);
    const float dmin = f16_to_f32(block.dmin);
    std::uint8_t codes[256];
    unpack_pairs(block.qs, codes);
    for (int j = 0; j < kParts; ++j) {
      const float scale = d * static_cast<float>(block.scales[j] & 15);
      const float minimum = dmin * static_cast<float>(block.scales[j] >> 4);
      for (int k = 16 * j; k < 16 * j + 16; ++k)
        dst[i + k] = scale * static_cast<float>(codes[k]) - minimum;
    }
  }
}

void encode_q2_k(const float* src, const float* importance, std::byte* dst, std::int64_t n) {
  Samples samples;
  for (std::int64_t i = 0; i < n; i += 256, dst += sizeof(Block)) {
    load_samples(src + i, importance ? importance + i : nullptr, 256, samples);
    const AffineBlock best = fit_affine_block(samples, kParts, kLast, kHighestScale);
    Block block;
    block.d = best.d;
    block.dmin = best.dmin;
    for (int j = 0; j < kParts; ++j)
      block.scales[j] = low_byte(best.scales[j] | best.minimums[j] << 4);
    pack_pairs(best.codes, block.qs);
    store_block(block, dst);
  }
}

}  // namespace runnel::quant
