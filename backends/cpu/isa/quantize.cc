// Activations to int8 with one f32 scale per block (largest magnitude / 127), rounded to nearest:
// blocks of 32 for q8_0 and q4_0 weights, of 256 with sums of 16 for the k formats.
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {
namespace {

// Writes n int8 values and returns the scale. REQUIRES: n a multiple of kLanes.
inline float quantize(const float* x, int64_t n, int8_t* q) {
  F most = zero();
  for (int64_t i = 0; i < n; i += kLanes) most = max(abs(load(x + i)), most);
  const float scale = largest(most) / 127.0f;
  const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  for (int64_t i = 0; i < n; i += kLanes) {
    float rounded[kLanes];
    // The bounds also turn NaN (an overflowing model) into a number that converts.
    const F v = min(max(mul(load(x + i), set1(inverse)), set1(-127.0f)), set1(127.0f));
    store(rounded, round(v));
    for (int j = 0; j < kLanes; ++j) q[i + j] = static_cast<int8_t>(rounded[j]);
  }
  return scale;
}

}  // namespace

void quantize32(const float* x, int64_t k, void* out) {
  const int64_t padded = (k + kBlock32Pad - 1) / kBlock32Pad * kBlock32Pad;
  auto* q = static_cast<int8_t*>(out);
  auto* scales = reinterpret_cast<float*>(q + padded);
  for (int64_t i = 0; i < k; i += 32) {
    const float scale = quantize(x + i, 32, q + i);
    for (int64_t c = 0; c < kScaleCopies; ++c) scales[i / 32 * kScaleCopies + c] = scale;
  }
  memset(q + k, 0, static_cast<size_t>(padded - k));
  for (int64_t i = k / 32 * kScaleCopies; i < padded / 32 * kScaleCopies; ++i) scales[i] = 0.0f;
}

void quantize256(const float* x, int64_t k, void* out) {
  auto* blocks = static_cast<Superblock*>(out);
  for (int64_t b = 0; b < k / 256; ++b) {
    Superblock& block = blocks[b];
    block.scale = quantize(x + 256 * b, 256, block.q);
    for (int j = 0; j < 16; ++j) {
      int total = 0;
      for (int i = 0; i < 16; ++i) total += block.q[16 * j + i];
      block.sums[j] = static_cast<int16_t>(total);
    }
  }
}

}  // namespace runnel::cpu::RUNNEL_ISA
