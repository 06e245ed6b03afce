// q6_k: 256 values in sixteen parts of 16; 6-bit codes, signed 8-bit part scales.
//   value n: d * scales[n / 16] * (q - 32); half h = n / 128, r = n % 128
//   low four bits of q: r < 64 ? ql[64 h + r] & 15 : ql[64 h + r - 64] >> 4
//   high two bits: (qh[32 h + r % 32] >> 2 (r / 32)) & 3
// SOURCE: gguf-py/gguf/quants.py (class Q6_K) and ggml-common.h of ggml-org/llama.cpp.
#include "quant/block_io.h"
#include "quant/dtype.h"
#include "quant/half.h"
#include "quant/search.h"

namespace runnel::quant {
namespace {

struct Block {
  std::uint8_t ql[128];
  std::uint8_t qh[64];
  std::int8_t scales[16];
  std::uint16_t d;  // f16
};
static_assert(sizeof(Block) == info(DType::q6_k).block_bytes);

constexpr Levels kLevels{-32, 31};
constexpr PartScales kScales{16, -128, 127};
constexpr Candidates kCandidates{0.80f, 0.02f, 13};

}  // namespace

void decode_q6_k(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 256, src += sizeof(Block)) {
    const auto block = load_block<Block>(src);
    const float d = f16_to_f32(block.d);
    std::uint8_t low[256];
    std::uint8_t high[256];
    unpack_nibbles(block.ql, 64, low);
    unpack_nibbles(block.ql + 64, 64, low + 128);
    unpack_pairs(block.qh, high);
    for (int j = 0; j < kScales.parts; ++j) {
      const float scale = d * static_cast<float>(block.scales[j]);
      for (int k = 16 * j; k < 16 * j + 16; ++k)
        dst[i + k] = scale * static_cast<float>((low[k] | high[k] << 4) - 32);
    }
  }
}

void encode_q6_k(const float* src, const float* importance, std::byte* dst, std::int64_t n) {
  Samples samples;
  for (std::int64_t i = 0; i < n; i += 256, dst += sizeof(Block)) {
    load_samples(src + i, importance ? importance + i : nullptr, 256, samples);
    const ScaledBlock best = fit_scaled_block(samples, kLevels, kScales, kCandidates);
    Block block;
    block.d = best.d;
    for (int j = 0; j < kScales.parts; ++j) block.scales[j] = best.scales[j];
    pack_nibbles(best.codes, 64, block.ql);
    pack_nibbles(best.codes + 128, 64, block.ql + 64);
    std::uint8_t high[256];
    for (int k = 0; k < 256; ++k) high[k] = best.codes[k] >> 4;
    pack_pairs(high, block.qh);
    store_block(block, dst);
  }
}

}  // namespace runnel::quant
