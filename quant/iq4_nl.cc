// iq4_nl: 32 values as 4-bit codes for uneven levels, under one f16 scale.
//   value n = d * level[nibble]; nibble order of q4_0.
// SOURCE: gguf-py/gguf/quants.py (class IQ4_NL) and ggml-common.h of ggml-org/llama.cpp.
#include "quant/block_io.h"
#include "quant/dtype.h"
#include "quant/half.h"
#include "quant/iq4_levels.h"
#include "quant/search.h"

namespace runnel::quant {
namespace {

struct Block {
  std::uint16_t d;  // f16
  std::uint8_t qs[16];
};
static_assert(sizeof(Block) == info(DType::iq4_nl).block_bytes);

constexpr Candidates kCandidates{0.70f, 0.05f, 10};

}  // namespace

void decode_iq4_nl(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 32, src += sizeof(Block)) {
    const auto block = load_block<Block>(src);
    const float d = f16_to_f32(block.d);
    std::uint8_t codes[32];
    unpack_nibbles(block.qs, 16, codes);
    for (int j = 0; j < 32; ++j) dst[i + j] = d * static_cast<float>(kIq4Levels[codes[j]]);
  }
}

void encode_iq4_nl(const float* src, const float* importance, std::byte* dst, std::int64_t n) {
  Samples samples;
  for (std::int64_t i = 0; i < n; i += 32, dst += sizeof(Block)) {
    load_samples(src + i, importance ? importance + i : nullptr, 32, samples);
    const ScaledCodes best = fit_scaled_codes(samples, kIq4, kCandidates);
    Block block;
    block.d = best.d;
    pack_nibbles(best.codes, 16, block.qs);
    store_block(block, dst);
  }
}

}  // namespace runnel::quant
