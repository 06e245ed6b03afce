#include "backends/cpu/steps/product.h"

#include <cstring>

namespace runnel::cpu {
namespace {

// Floats from one decoded row to the next: one line more, or rows a power of two apart would fall
// on the same lines of the L1 cache.
std::int64_t slab_stride(std::int64_t k) {
  return k + 16;
}

bool widens(Fast format, std::int64_t n_tokens) {
  return (format == Fast::f16 || format == Fast::bf16) && n_tokens >= kManyTokens;
}

void decode(const Step& step, const Operand& w, const std::byte* row, float* dst) {
  if (step.product == Product::decoded)
    quant::codec(w.dtype).decode_row(row, dst, w.cols());
  else if (step.format == Fast::f16)
    step.kernels->from_f16(row, dst, w.cols());
  else
    step.kernels->from_bf16(row, dst, w.cols());
}

// REQUIRES: f32 weights and rows of x in order.
bool multiply_library(const MatmulTask& task) {
  constexpr std::int64_t kFloat = sizeof(float);
  return multiply_onednn({task.y, task.y_stride, reinterpret_cast<const float*>(task.x),
                          task.x_stride / kFloat, reinterpret_cast<const float*>(task.w),
                          task.w_stride / kFloat, task.n_tokens, task.n_rows, task.k});
}

// REQUIRES: rows of x in order, as round_rows() left them.
bool multiply_library_bf16(const MatmulTask& task) {
  constexpr auto kValue = std::int64_t{sizeof(std::uint16_t)};
  return multiply_onednn_bf16(
      {task.y, task.y_stride, reinterpret_cast<const std::uint16_t*>(task.x),
       task.x_stride / kValue, reinterpret_cast<const std::uint16_t*>(task.w),
       task.w_stride / kValue, task.n_tokens, task.n_rows, task.k});
}

// The hardware's own prefetching stops at each page. Asking for weights ahead of their use helps on
// Cascade Lake (one thread, from memory: q4_0 8.0 -> 10.4 GB/s of 11.3, q6_k 7.4 -> 9.9) and harms
// on Zen 4 (four streams: 27.4 GB/s alone, 21.4 when asked 3 KiB ahead).
std::int64_t bytes_ahead() {
#if defined(__x86_64__)
  if (__builtin_cpu_is("amd")) return 0;
#endif
  return 3072;
}

}  // namespace

Fast fast_format(DType type) {
  // clang-format off: one row per format, aligned
  switch (type) {
    case DType::f16:
      return Fast::f16;
    case DType::bf16:
      return Fast::bf16;
    case DType::q8_0:
      return Fast::q8_0;
    case DType::q4_0:
      return Fast::q4_0;
    case DType::q4_1:
      return Fast::q4_1;
    case DType::q5_0:
      return Fast::q5_0;
    case DType::q5_1:
      return Fast::q5_1;
    case DType::iq4_nl:
      return Fast::iq4_nl;
    case DType::q2_k:
      return Fast::q2_k;
    case DType::q3_k:
      return Fast::q3_k;
    case DType::q4_k:
      return Fast::q4_k;
    case DType::q5_k:
      return Fast::q5_k;
    case DType::q6_k:
      return Fast::q6_k;
    case DType::iq4_xs:
      return Fast::iq4_xs;
    default:
      return Fast::f32;
  }
  // clang-format on
}

Product product_for(DType type) {
  const bool direct = type == DType::f32 || fast_format(type) != Fast::f32;
  return direct ? Product::direct : Product::decoded;
}

std::int64_t row_chunks(std::int64_t k) {
  return (k + kChunkValues - 1) / kChunkValues;
}

std::int64_t prepared_row_bytes(Fast format, std::int64_t k) {
  if (is_quantised(format)) return row_chunks(k) * std::int64_t{sizeof(Chunk)};
  if (format == Fast::bf16_dots) return padded_bf16(k) * std::int64_t{sizeof(std::uint16_t)};
  return k * std::int64_t{sizeof(float)};
}

std::int64_t rows_per_task(const Step& step,
                           std::int64_t n_rows,
                           std::int64_t n_tokens,
                           int n_threads) {
  if (takes_library(step, n_tokens)) return kGemmRows;
  if (step.product == Product::decoded || n_tokens >= kManyTokens) return kSlabRows;
  const std::int64_t even = n_rows / (std::int64_t{n_threads} * 8);
  return std::clamp<std::int64_t>(even / 4 * 4, 8, kMostRows);
}

void round_row(const Step& step, const float* x, std::int64_t k, std::byte* dst) {
  if (step.format != Fast::bf16_dots)
    return step.kernels->quantize(x, k, reinterpret_cast<Chunk*>(dst));
  step.kernels->to_bf16(x, dst, k);
  auto* values = reinterpret_cast<std::uint16_t*>(dst);
  std::fill(values + k, values + padded_bf16(k), std::uint16_t{0});
}

void round_rows(const Step& step, const StepContext& context, std::int64_t n_rows, std::byte* dst) {
  const Operand& x = step.in[0];
  const std::int64_t row_bytes = prepared_row_bytes(step.format, x.cols());
  const Range rows = context.share(n_rows);
  for (std::int64_t r = rows.begin; r < rows.end; ++r)
    round_row(step, x.row(r), x.cols(), dst + r * row_bytes);
}

std::size_t slab_bytes(DType type, std::int64_t k, std::int64_t max_rows) {
  const bool used = product_for(type) == Product::decoded || widens(fast_format(type), max_rows);
  return used ? static_cast<std::size_t>(kSlabRows * slab_stride(k)) * sizeof(float) : 0;
}

std::size_t gemm_slab_bytes(DType type, std::int64_t k) {
  // Also enough for kSlabRows, when there are fewer tokens.
  return type == DType::f32 ? 0
                            : static_cast<std::size_t>(kGemmRows * slab_stride(k)) * sizeof(float);
}

void multiply(
    const Step& step, const Operand& w, std::int64_t first, MatmulTask task, std::byte* slab) {
  const std::byte* rows = w.data + first * w.row_bytes();
  Fast format = step.format;
  task.w = reinterpret_cast<const std::uint8_t*>(rows);
  task.w_stride = w.row_bytes();
  static const std::int64_t kAhead = bytes_ahead();
  task.ahead = kAhead;
  if (takes_library_bf16(step, task.n_tokens) && multiply_library_bf16(task)) return;
  if (step.product == Product::decoded || widens(format, task.n_tokens)) {
    auto* decoded = reinterpret_cast<float*>(slab);
    const std::int64_t stride = slab_stride(w.cols());
    for (std::int64_t r = 0; r < task.n_rows; ++r)
      decode(step, w, rows + r * w.row_bytes(), decoded + r * stride);
    task.w = reinterpret_cast<const std::uint8_t*>(slab);
    task.w_stride = stride * std::int64_t{sizeof(float)};
    format = Fast::f32;
  }
  if (takes_library_f32(step, task.n_tokens) && multiply_library(task)) return;
  step.kernels->matmul[static_cast<std::size_t>(format)](task);
}

}  // namespace runnel::cpu
