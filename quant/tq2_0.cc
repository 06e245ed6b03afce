// tq2_0: 256 ternary values of two bits under one f16 scale.
//   value n = d * (q - 1), q in the order of q2_k. The encoder writes q = 0, 1, 2 only.
// SOURCE: gguf-py/gguf/quants.py (class TQ2_0) and ggml-common.h of ggml-org/llama.cpp.
#include "quant/block_io.h"
#include "quant/dtype.h"
#include "quant/half.h"
#include "quant/search.h"
#include "quant/ternary.h"

namespace runnel::quant {
namespace {

struct Block {
  std::uint8_t qs[64];
  std::uint16_t d;  // f16
};
static_assert(sizeof(Block) == info(DType::tq2_0).block_bytes);

}  // namespace

void decode_tq2_0(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 256, src += sizeof(Block)) {
    const auto block = load_block<Block>(src);
    const float d = f16_to_f32(block.d);
    std::uint8_t codes[256];
    unpack_pairs(block.qs, codes);
    for (int k = 0; k < 256; ++k) dst[i + k] = d * static_cast<float>(codes[k] - 1);
  }
}

void encode_tq2_0(const float* src, const float* importance, std::byte* dst, std::int64_t n) {
  Samples samples;
  for (std::int64_t i = 0; i < n; i += 256, dst += sizeof(Block)) {
    load_samples(src + i, importance ? importance + i : nullptr, 256, samples);
    const TernaryBlock best = fit_ternary(samples);
    Block block;
    block.d = best.d;
    pack_pairs(best.codes, block.qs);
    store_block(block, dst);
  }
}

}  // namespace runnel::quant
