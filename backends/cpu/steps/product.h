// A part of a matrix product on one thread: the pieces that matmul, matmul_swiglu and moe_matmul
// share. Activations are rounded once per step by all threads, into shared scratch.
#pragma once
#include "backends/cpu/kernel.h"
#include "backends/cpu/onednn.h"

namespace runnel::cpu {

/// Weight rows of one task when rows are decoded or there are many tokens: a decoded slab of them
/// stays in the L2 cache (32 rows of 2048 values = 256 KiB) while all tokens pass.
inline constexpr std::int64_t kSlabRows = 32;
/// From this many tokens on, f16 and bf16 weights are widened once per slab.
inline constexpr std::int64_t kManyTokens = 8;
/// Most weight rows of a task with few tokens.
inline constexpr std::int64_t kMostRows = 256;

/// Weight rows per task: enough tasks to even out threads, few enough to be worth taking.
std::int64_t rows_per_task(const Step& step,
                           std::int64_t n_rows,
                           std::int64_t n_tokens,
                           int n_threads);

/// Bytes of one row of x as the dot kernels of `format` want it.
std::int64_t prepared_row_bytes(Fast format, std::int64_t k);
/// Chunks of one quantised row of x.
std::int64_t row_chunks(std::int64_t k);

/// Whether oneDNN multiplies this many rows of x, and in what.
inline bool takes_library_f32(const Step& step, std::int64_t n_tokens) {
  return n_tokens >= kGemmTokens && step.product == Product::library;
}
inline bool takes_library_bf16(const Step& step, std::int64_t n_tokens) {
  return n_tokens >= kGemmTokens && step.product == Product::library_bf16;
}
inline bool takes_library(const Step& step, std::int64_t n_tokens) {
  return takes_library_f32(step, n_tokens) || takes_library_bf16(step, n_tokens);
}

/// The dot kernel for weights of `type`; f32 (after decoding) when it has none of its own.
Fast fast_format(DType type);
Product product_for(DType type);

/// One row of x as the step's format wants it, prepared_row_bytes() long. REQUIRES: rounds_input().
void round_row(const Step& step, const float* x, std::int64_t k, std::byte* dst);
/// This thread's part of rounding rows of x into dst; the caller then waits at the barrier.
void round_rows(const Step& step, const StepContext& context, std::int64_t n_rows, std::byte* dst);

/// Bytes of decoded slab a thread needs for weights of this type at `max_rows` rows of x.
std::size_t slab_bytes(DType type, std::int64_t k, std::int64_t max_rows);
/// The same when oneDNN multiplies.
std::size_t gemm_slab_bytes(DType type, std::int64_t k);

/// Multiplies rows [first, first + n) of w (its leading dimensions flattened) with the rows of x in
/// `task` and stores to task.y. `task` has everything but the weight; slab: see slab_bytes.
void multiply(
    const Step& step, const Operand& w, std::int64_t first, MatmulTask task, std::byte* slab);

}  // namespace runnel::cpu
