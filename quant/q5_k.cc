// q5_k: 256 values in eight parts of 32; 5-bit codes, 6-bit part scales and minimums.
//   value n, part j = n / 32: d * scale[j] * q - dmin * minimum[j]
//   q: chunk c = n / 64, byte qs[32 c + n % 32], low nibble if n % 64 < 32, else high
//   plus bit n / 32 of qh[n % 32] as bit 4
// SOURCE: gguf-py/gguf/quants.py (class Q5_K) and ggml-common.h of ggml-org/llama.cpp.
#include "quant/block_io.h"
#include "quant/dtype.h"
#include "quant/half.h"
#include "quant/scales6.h"
#include "quant/search.h"

namespace runnel::quant {
namespace {

struct Block {
  std::uint16_t d;     // f16, of the scales
  std::uint16_t dmin;  // f16, of the minimums
  std::uint8_t scales[12];
  std::uint8_t qh[32];  // fifth bits
  std::uint8_t qs[128];
};
static_assert(sizeof(Block) == info(DType::q5_k).block_bytes);

constexpr int kLast = 31;

}  // namespace

void decode_q5_k(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 256, src += sizeof(Block)) {
    const auto block = load_block<Block>(src);
    std::uint8_t codes[256];
    for (int c = 0; c < 4; ++c) unpack_nibbles(block.qs + 32 * c, 32, codes + 64 * c);
    for (int k = 0; k < 256; ++k)
      codes[k] = low_byte(codes[k] | (block.qh[k % 32] >> (k / 32) & 1) << 4);
    decode_parts(f16_to_f32(block.d), f16_to_f32(block.dmin), block.scales, codes, dst + i);
  }
}

void encode_q5_k(const float* src, const float* importance, std::byte* dst, std::int64_t n) {
  Samples samples;
  for (std::int64_t i = 0; i < n; i += 256, dst += sizeof(Block)) {
    load_samples(src + i, importance ? importance + i : nullptr, 256, samples);
    const AffineBlock best = fit_block6(samples, kLast);
    Block block{};
    block.d = best.d;
    block.dmin = best.dmin;
    pack_scales6(best, block.scales);
    for (int c = 0; c < 4; ++c) pack_nibbles(best.codes + 64 * c, 32, block.qs + 32 * c);
    for (int k = 0; k < 256; ++k)
      block.qh[k % 32] = low_byte(block.qh[k % 32] | (best.codes[k] >> 4) << (k / 32));
    store_block(block, dst);
  }
}

}  // namespace runnel::quant
