// q4_1: 32 values as 4-bit codes with an f16 scale and an f16 offset.
//   value n = nibble * d + m; nibble order of q4_0.
// SOURCE: gguf-py/gguf/quants.py (class Q4_1) and ggml-common.h of ggml-org/llama.cpp.
#include "quant/block_io.h"
#include "quant/dtype.h"
#include "quant/half.h"
#include "quant/search.h"

namespace runnel::quant {
namespace {

struct Block {
  std::uint16_t d;  // f16
  std::uint16_t m;  // f16, value of code 0
  std::uint8_t qs[16];
};
static_assert(sizeof(Block) == info(DType::q4_1).block_bytes);

constexpr int kLast = 15;

}  // namespace

void decode_q4_1(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 32, src += sizeof(Block)) {
    const auto block = load_block<Block>(src);
    const float d = f16_to_f32(block.d);
    const float m = f16_to_f32(block.m);
    std::uint8_t codes[32];
    unpack_nibbles(block.qs, 16, codes);
    for (int j = 0; j < 32; ++j) dst[i + j] = static_cast<float>(codes[j]) * d + m;
  }
}

void encode_q4_1(const float* src, const float* importance, std::byte* dst, std::int64_t n) {
  Samples samples;
  for (std::int64_t i = 0; i < n; i += 32, dst += sizeof(Block)) {
    load_samples(src + i, importance ? importance + i : nullptr, 32, samples);
    const AffineCodes best = fit_affine_codes(samples, kLast);
    Block block;
    block.d = best.d;
    block.m = best.m;
    pack_nibbles(best.codes, 16, block.qs);
    store_block(block, dst);
  }
}

}  // namespace runnel::quant
