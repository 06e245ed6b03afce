// The table of functions that every ISA level exports, and the plain structs they take. Included
// by ISA files and by baseline files alike: nothing here may generate code.
#pragma once
#include <stdint.h>

#include "backends/cpu/isa/ceilings.h"

namespace runnel::cpu {

/// Weight formats with their own dot kernels, in the order of Kernels::matmul.
enum class Fast : uint8_t { f32, f16, bf16, q8_0, q4_0, q3_k, q4_k, q6_k, iq4_xs, count };
inline constexpr int kFastCount = static_cast<int>(Fast::count);

/// y[t][n] = dot(x[t], w[n]) for n < n_rows, t < n_tokens. Each element is accumulated in the same
/// order whatever n_rows and n_tokens are.
struct MatmulTask {
  float* y;                // y[t] starts at y + y_index[t] * y_stride
  int64_t y_stride;        // floats
  const uint8_t* w;        // first weight row
  int64_t w_stride;        // bytes
  int64_t n_rows;          // weight rows
  int64_t k;               // values per row
  const uint8_t* x;        // f32 rows, or rows made by quantize32 / quantize256
  int64_t x_stride;        // bytes; row of token t starts at x + x_index[t] * x_stride
  int64_t n_tokens;        // rows of x
  const int32_t* x_index;  // null: t
  const int32_t* y_index;  // null: t
};
using MatmulFunction = void (*)(const MatmulTask& task);

/// Activations for 32-value block formats: values [padded k] int8, then the scale of each block,
/// repeated 8 times (so that a vector register of scales is one load). k is padded with zeros to a
/// multiple of 64; a row is 2 * padded k bytes.
inline constexpr int64_t kBlock32Pad = 64;
inline constexpr int64_t kScaleCopies = 8;

/// Activations for 256-value superblock formats.
struct alignas(64) Superblock {
  int8_t q[256];
  int16_t sums[16];  // of 16 values each
  float scale;
  float padding[7];
};
static_assert(sizeof(Superblock) == 320);

/// Causal attention of the query heads that share one KV head, for consecutive tokens. Keys are
/// taken page by page, so each row's result is independent of n_tokens.
struct AttentionTask {
  const float* q;             // [n_tokens][group][head_dim], token rows row_stride floats apart
  float* out;                 // same geometry
  int64_t row_stride;         // floats
  int64_t n_tokens;           // at most kAttentionRows / group, or 1
  int64_t group;              // query heads per KV head
  int64_t head_dim;           // values
  int64_t pos;                // position of the first token
  int64_t window;             // keys seen by a row, its own included; 0 = all
  const void* const* k_page;  // host address of each page
  const void* const* v_page;
  int64_t head_offset;  // elements from the page's start to this KV head
  int32_t half_pages;   // 1: pages hold f16, 0: f32
  float scale;
  /// With rows = n_tokens * group and dim = head_dim padded to 16, both rounded up to 16:
  /// 2 rows dim + 64 rows + 3 rows + 128 dim floats.
  float* scratch;
};
inline constexpr int64_t kAttentionRows = 64;
inline constexpr int64_t kPage = 64;  // tokens of a page

struct ConvTask {
  float* out;           // [n_tokens, d]
  const float* bcx;     // [n_tokens, 3d]: chunks B, C, x
  const float* filter;  // [d, taps]
  const float* bias;    // [d] or null
  float* ring;          // [ring_columns, d]
  int64_t d, taps, ring_columns, n_tokens;
  int64_t pos;          // position of the first token
  int64_t first, last;  // channels to compute
};

/// Functions of one ISA level. All of them work on the calling thread and allocate nothing.
struct Kernels {
  /// One per Fast format; x is f32 for the first three, else quantised.
  MatmulFunction matmul[kFastCount];
  /// x [k] f32 -> a row for q8_0 and q4_0, or k/256 Superblocks for the others.
  void (*quantize32)(const float* x, int64_t k, void* out);
  void (*quantize256)(const float* x, int64_t k, void* out);
  /// n values of f16 or bf16 -> f32, and f32 -> f16 (nearest even).
  void (*from_f16)(const void* src, float* dst, int64_t n);
  void (*from_bf16)(const void* src, float* dst, int64_t n);
  void (*to_f16)(const float* src, void* dst, int64_t n);
  void (*add)(float* out, const float* a, const float* b, int64_t n);
  /// out = gate / (1 + exp(-gate)) * up
  void (*swiglu)(float* out, const float* gate, const float* up, int64_t n);
  /// One group of n values: out = x / sqrt(mean(x^2) + eps) * weight. out may be x.
  void (*rms_norm)(float* out, const float* x, const float* weight, int64_t n, float eps);
  /// Rotates pairs (i, i + n_pairs) of one head; cos_sin: n_pairs cosines, then n_pairs sines.
  void (*rotate_half)(float* out, const float* x, const float* cos_sin, int64_t n_pairs);
  void (*multiply_add)(float* out, const float* x, float factor, int64_t n);  // out += factor * x
  /// Lowest index of the largest value.
  int64_t (*argmax)(const float* x, int64_t n);
  void (*short_conv)(const ConvTask& task);
  void (*attention)(const AttentionTask& task);
  CeilingLoops ceilings;
};

}  // namespace runnel::cpu
