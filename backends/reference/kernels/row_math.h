// Arithmetic on single rows, shared by primitive and fused kernels so that both give equal bits.
#pragma once
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace runnel::reference {

/// Sum of a[i]*b[i] in f32. The order is fixed: 16 interleaved partial sums, then the lanes in
/// order, then the tail. It lets a compiler use any vector width and keeps rounding errors small.
inline float dot(const float* a, const float* b, std::int64_t n) {
  constexpr std::int64_t kLanes = 16;
  std::array<float, kLanes> lane{};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::int64_t j = 0; j < kLanes; ++j)
      lane[static_cast<std::size_t>(j)] += a[i + j] * b[i + j];
  float sum = 0.0f;
  for (float partial : lane) sum += partial;
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

/// x / (1 + e^-x)
inline float silu(float x) {
  return x / (1.0f + std::exp(-x));
}

/// out[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i] for each group of d of the n columns.
/// out may be x. SOURCE: RMSNorm, arXiv:1910.07467, eq. 4, eps as in Llama.
inline void rms_norm_row(
    float* out, const float* x, const float* weight, std::int64_t n, std::int64_t d, float eps) {
  for (std::int64_t start = 0; start < n; start += d) {
    const float mean = dot(x + start, x + start, d) / static_cast<float>(d);
    const float scale = 1.0f / std::sqrt(mean + eps);
    for (std::int64_t i = 0; i < d; ++i) out[start + i] = x[start + i] * scale * weight[i];
  }
}

}  // namespace runnel::reference
