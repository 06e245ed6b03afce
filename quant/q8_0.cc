// q8_0: 32 values as signed bytes under one f16 scale.
//   value n = q[n] * d
// The encoder never writes -128, so that kernels may take absolute values in 8 bits.
// SOURCE: gguf-py/gguf/quants.py (class Q8_0) and ggml-common.h of ggml-org/llama.cpp.
#include "quant/block_io.h"
#include "quant/dtype.h"
#include "quant/half.h"
#include "quant/search.h"

namespace runnel::quant {
namespace {

struct Block {
  std::uint16_t d;  // f16
  std::int8_t q[32];
};
static_assert(sizeof(Block) == info(DType::q8_0).block_bytes);

constexpr Levels kLevels{-127, 127};
constexpr Candidates kCandidates{0.88f, 0.01f, 15};

}  // namespace

void decode_q8_0(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 32, src += sizeof(Block)) {
    const auto block = load_block<Block>(src);
    const float d = f16_to_f32(block.d);
    for (int j = 0; j < 32; ++j) dst[i + j] = static_cast<float>(block.q[j]) * d;
  }
}

void encode_q8_0(const float* src, const float* importance, std::byte* dst, std::int64_t n) {
  Samples samples;
  for (std::int64_t i = 0; i < n; i += 32, dst += sizeof(Block)) {
    load_samples(src + i, importance ? importance + i : nullptr, 32, samples);
    const ScaledCodes best = fit_scaled_codes(samples, kLevels, kCandidates);
    Block block;
    block.d = best.d;
    for (int j = 0; j < 32; ++j) block.q[j] = static_cast<std::int8_t>(best.codes[j] - 127);
    store_block(block, dst);
  }
}

}  // namespace runnel::quant
