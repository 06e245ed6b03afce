// q5_0: 32 values as 5-bit codes under one f16 scale.
//   value n = (nibble | bit n of qh << 4, minus 16) * d; nibble order of q4_0.
// SOURCE: gguf-py/gguf/quants.py (class Q5_0) and ggml-common.h of ggml-org/llama.cpp.
#include "quant/block_io.h"
#include "quant/dtype.h"
#include "quant/half.h"
#include "quant/search.h"

namespace runnel::quant {
namespace {

struct Block {
  std::uint16_t d;      // f16
  std::uint8_t qh[4];   // fifth bits: bit n of the little-endian word
  std::uint8_t qs[16];  // low four bits
};
static_assert(sizeof(Block) == info(DType::q5_0).block_bytes);

constexpr Levels kLevels{-16, 15};
constexpr Candidates kCandidates{0.80f, 0.02f, 15};

}  // namespace

void decode_q5_0(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 32, src += sizeof(Block)) {
    const auto block = load_block<Block>(src);
    const float d = f16_to_f32(block.d);
    std::uint8_t codes[32];
    unpack_nibbles(block.qs, 16, codes);
    unpack_fifth_bits(block.qh, codes);
    for (int j = 0; j < 32; ++j) dst[i + j] = static_cast<float>(codes[j] - 16) * d;
  }
}

void encode_q5_0(const float* src, const float* importance, std::byte* dst, std::int64_t n) {
  Samples samples;
  for (std::int64_t i = 0; i < n; i += 32, dst += sizeof(Block)) {
    load_samples(src + i, importance ? importance + i : nullptr, 32, samples);
    const ScaledCodes best = fit_scaled_codes(samples, kLevels, kCandidates);
    Block block;
    block.d = best.d;
    pack_fifth_bits(best.codes, block.qh);
    pack_nibbles(best.codes, 16, block.qs);
    store_block(block, dst);
  }
}

}  // namespace runnel::quant
