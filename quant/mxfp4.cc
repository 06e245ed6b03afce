// mxfp4: 32 values as E2M1 codes under one power of two (E8M0).
//   value n = doubled_e2m1[nibble] * 2^(e - 128), for every e: e = 0 means 2^-128, not 0.
//   Nibble order of q4_0.
// SOURCE: gguf-py/gguf/quants.py (class MXFP4) and ggml-common.h of ggml-org/llama.cpp.
#include <algorithm>
#include <cmath>

#include "quant/block_io.h"
#include "quant/dtype.h"
#include "quant/e2m1.h"
#include "quant/search.h"

namespace runnel::quant {
namespace {

struct Block {
  std::uint8_t e;
  std::uint8_t qs[16];
};
static_assert(sizeof(Block) == info(DType::mxfp4).block_bytes);

constexpr int kLargestExponent = 252;  // 12 * 2^(252 - 128) is the largest that f32 can hold

// The code nearest to v; midpoints go to the level with the even code.
std::uint8_t nearest_code(float v) {
  const float magnitude = std::fabs(v);
  const int code = (magnitude > 0.5f) + (magnitude >= 1.5f) + (magnitude > 2.5f) +
                   (magnitude >= 3.5f) + (magnitude > 5.0f) + (magnitude >= 7.0f) +
                   (magnitude > 10.0f);
  return low_byte(v < 0 && code != 0 ? code | 8 : code);
}

// Like load_samples, but keeps the whole range of f32: the scale has it too.
void load_wide_samples(const float* src, const float* importance, Samples& out) {
  float unused[32] = {};
  load_samples(unused, importance, 32, out);  // for the weights
  for (int k = 0; k < 32; ++k)
    out.x[k] = std::isnan(src[k]) ? 0.0f : std::clamp(src[k], -0x1.fffffep127f, 0x1.fffffep127f);
}

struct Trial {
  double error;  // weighted, in units of the squared scale
  std::uint8_t codes[32];
};

Trial try_exponent(const Samples& samples, int e) {
  Trial trial{};
  const double inverse = std::ldexp(1.0, 128 - e);
  for (int k = 0; k < 32; ++k) {
    const double v = samples.x[k] * inverse;
    trial.codes[k] = nearest_code(static_cast<float>(std::clamp(v, -64.0, 64.0)));
    const double difference = v - kE2m1Doubled[trial.codes[k]];
    trial.error += samples.w[k] * difference * difference;
  }
  return trial;
}

}  // namespace

void decode_mxfp4(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 32, src += sizeof(Block)) {
    const auto block = load_block<Block>(src);
    const float scale = std::ldexp(1.0f, block.e - 128);
    std::uint8_t codes[32];
    unpack_nibbles(block.qs, 16, codes);
    for (int k = 0; k < 32; ++k) dst[i + k] = static_cast<float>(kE2m1Doubled[codes[k]]) * scale;
  }
}

void encode_mxfp4(const float* src, const float* importance, std::byte* dst, std::int64_t n) {
  Samples samples;
  for (std::int64_t i = 0; i < n; i += 32, dst += sizeof(Block)) {
    load_wide_samples(src + i, importance ? importance + i : nullptr, samples);
    const float largest = largest_counted(samples.x, samples.w, 32);
    Block block{};
    if (largest > 0) {
      // largest is in [2^p, 2^(p+1)) and 12 = 1.5 * 2^3: the level of largest is 8, 12 or clipped
      const int middle = 128 + std::ilogb(largest) - 3;
      Trial best{};
      for (int e = middle - 1; e <= middle + 1; ++e) {
        const int exponent = std::clamp(e, 0, kLargestExponent);
        Trial trial = try_exponent(samples, exponent);
        trial.error *= std::ldexp(1.0, 2 * (exponent - middle));
        if (e > middle - 1 && !(trial.error < best.error)) continue;
        best = trial;
        block.e = low_byte(exponent);
      }
      pack_nibbles(best.codes, 16, block.qs);
    }
    store_block(block, dst);
  }
}

}  // namespace runnel::quant
