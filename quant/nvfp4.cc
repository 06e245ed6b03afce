// nvfp4: 64 values in four parts of 16; E2M1 codes under an unsigned E4M3 scale per part.
//   value n, part s = n / 16, i = n % 16: doubled_e2m1[nibble] * scale(d[s])
//   nibble: byte qs[8 s + i % 8], low if i < 8, else high
//   scale(b) = 0.5 * (exponent == 0 ? mantissa * 2^-9 : (1 + mantissa / 8) * 2^(exponent - 7));
//   0x7F (NaN in E4M3) gives 0, and the top bit has no meaning
// Decode only: files arrive in this format, none is written in it.
// SOURCE: gguf-py/gguf/quants.py (class NVFP4) and ggml-common.h of ggml-org/llama.cpp.
#include "quant/block_io.h"
#include "quant/dtype.h"
#include "quant/e2m1.h"

namespace runnel::quant {
namespace {

struct Block {
  std::uint8_t d[4];
  std::uint8_t qs[32];
};
static_assert(sizeof(Block) == info(DType::nvfp4).block_bytes);

float half_e4m3(std::uint8_t bits) {
  if (bits == 0x7F) return 0;
  const int exponent = bits >> 3 & 15;
  const auto mantissa = static_cast<float>(bits & 7);
  if (exponent == 0) return mantissa * 0x1p-10f;
  // (8 + mantissa) * 2^(exponent - 11); the power of two is exact
  return (8.0f + mantissa) * static_cast<float>(1 << exponent) * 0x1p-11f;
}

}  // namespace

void decode_nvfp4(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 64, src += sizeof(Block)) {
    const auto block = load_block<Block>(src);
    for (int s = 0; s < 4; ++s) {
      const float scale = half_e4m3(block.d[s]);
      std::uint8_t codes[16];
      unpack_nibbles(block.qs + 8 * s, 8, codes);
      for (int k = 0; k < 16; ++k)
        dst[i + 16 * s + k] = static_cast<float>(kE2m1Doubled[codes[k]]) * scale;
    }
  }
}

}  // namespace runnel::quant
