// tq1_0: 256 ternary values, five to a byte, under one f16 scale.
//   value n = d * (t - 1); t = ((byte * 3^k mod 256) * 3) >> 8
//   n < 160: byte qs[n % 32], k = n / 32; n < 240: byte qs[32 + (n - 160) % 16], k = (n - 160) /
//   16; else byte qh[(n - 240) % 4], k = (n - 240) / 4
// A byte is the fraction 0.t0 t1 t2 t3 t4 in base 3, times 256 and rounded up.
// SOURCE: gguf-py/gguf/quants.py (class TQ1_0) and ggml-common.h of ggml-org/llama.cpp.
#include "quant/block_io.h"
#include "quant/dtype.h"
#include "quant/half.h"
#include "quant/search.h"
#include "quant/ternary.h"

namespace runnel::quant {
namespace {

struct Block {
  std::uint8_t qs[48];  // 32 bytes of five values, then 16 bytes of five values
  std::uint8_t qh[4];   // four values each
  std::uint16_t d;      // f16
};
static_assert(sizeof(Block) == info(DType::tq1_0).block_bytes);

constexpr int kPowers[5] = {1, 3, 9, 27, 81};

// Unpacks `digits` values of each of `count` bytes; digit k of byte j is value k * count + j.
void unpack_digits(const std::uint8_t* bytes, int count, int digits, float d, float* out) {
  for (int k = 0; k < digits; ++k)
    for (int j = 0; j < count; ++j) {
      const int fraction = bytes[j] * kPowers[k] & 255;
      out[k * count + j] = d * static_cast<float>((fraction * 3 >> 8) - 1);
    }
}

void pack_digits(const std::uint8_t* codes, int count, int digits, std::uint8_t* bytes) {
  for (int j = 0; j < count; ++j) {
    int number = 0;
    for (int k = 0; k < 5; ++k) number = 3 * number + (k < digits ? codes[k * count + j] : 0);
    bytes[j] = low_byte((number * 256 + 242) / 243);
  }
}

}  // namespace

void decode_tq1_0(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 256, src += sizeof(Block)) {
    const auto block = load_block<Block>(src);
    const float d = f16_to_f32(block.d);
    unpack_digits(block.qs, 32, 5, d, dst + i);
    unpack_digits(block.qs + 32, 16, 5, d, dst + i + 160);
    unpack_digits(block.qh, 4, 4, d, dst + i + 240);
  }
}

void encode_tq1_0(const float* src, const float* importance, std::byte* dst, std::int64_t n) {
  Samples samples;
  for (std::int64_t i = 0; i < n; i += 256, dst += sizeof(Block)) {
    load_samples(src + i, importance ? importance + i : nullptr, 256, samples);
    const TernaryBlock best = fit_ternary(samples);
    Block block;
    block.d = best.d;
    pack_digits(best.codes, 32, 5, block.qs);
    pack_digits(best.codes + 160, 16, 5, block.qs + 32);
    pack_digits(best.codes + 240, 4, 4, block.qh);
    store_block(block, dst);
  }
}

}  // namespace runnel::quant
