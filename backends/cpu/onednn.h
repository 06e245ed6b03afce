// oneDNN's matrix products, one thread per call. onednn.cc is built when the library was found,
// onednn_absent.cc otherwise.
#pragma once
#include <cstdint>

namespace runnel::cpu {

/// From this many rows of x on, oneDNN may multiply float weights. Measured with oneDNN 2.6 on
/// Cascade Lake, K = N = 1024 and 2048: 1.2 to 1.5 times our kernels with 256 rows, 0.5 to 0.8
/// with 64.
inline constexpr std::int64_t kGemmTokens = 256;
/// Weight rows of one call. Fixed, so that results do not depend on the number of threads.
inline constexpr std::int64_t kGemmRows = 128;

/// True when the library is compiled in.
bool has_onednn();
/// True when the library found instructions for products of bf16 (AVX512-BF16, AMX): elsewhere it
/// emulates them (AVX-512) or refuses (AVX2).
bool has_onednn_bf16();

/// y[t][n] = dot(x[t], w[n]).
struct GemmTask {
  float* y;
  std::int64_t y_stride;  // floats, as all strides
  const float* x;
  std::int64_t x_stride;
  const float* w;
  std::int64_t w_stride;
  std::int64_t n_tokens, n_rows, k;
};

/// Runs on the calling thread. Rounding differs from our kernels by about 1e-6 of the result's
/// scale, and may depend on n_tokens. False when the library refuses.
bool multiply_onednn(const GemmTask& task);

/// The same in bf16, summed in f32.
struct Bf16GemmTask {
  float* y;
  std::int64_t y_stride;  // floats
  const std::uint16_t* x;
  std::int64_t x_stride;  // values
  const std::uint16_t* w;
  std::int64_t w_stride;
  std::int64_t n_tokens, n_rows, k;
};

/// As multiply_onednn().
bool multiply_onednn_bf16(const Bf16GemmTask& task);

}  // namespace runnel::cpu
