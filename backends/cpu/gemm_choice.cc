#include "backends/cpu/gemm_choice.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

#include "backends/cpu/onednn.h"
#include "backends/cpu/steps/product.h"

namespace runnel::cpu {
namespace {

constexpr std::int64_t kTokens = kGemmTokens, kRows = kGemmRows, kColumns = 1024;
constexpr int kPasses = 3;  // after one that warms up: oneDNN makes its code then
constexpr double kAdvantage = 0.9;

/// Shortest time of a way to multiply, in seconds; 0 when it refuses.
template <class Multiply>
double shortest(const Multiply& multiply) {
  using Clock = std::chrono::steady_clock;
  if (!multiply()) return 0;
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const Clock::time_point start = Clock::now();
    multiply();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (pass == 0 || seconds < best) best = seconds;
  }
  return best;
}

/// One task's operands, neither zeros nor numbers that processors are slow with.
struct Operands {
  std::vector<float> x = std::vector<float>(kTokens * kColumns, 0.5f);
  std::vector<float> w = std::vector<float>(kRows * kColumns, 0.25f);
  std::vector<float> y = std::vector<float>(kTokens * kRows);
  std::vector<std::uint16_t> halves = std::vector<std::uint16_t>(kTokens * kColumns, 0x3F00);

  bool own(const Kernels& kernels) {
    MatmulTask task{};
    task.x = reinterpret_cast<const std::uint8_t*>(x.data());
    task.k = kColumns;
    task.x_stride = task.w_stride = kColumns * std::int64_t{sizeof(float)};
    task.n_tokens = kTokens;
    task.y_stride = kRows;
    task.n_rows = kSlabRows;
    for (std::int64_t row = 0; row < kRows; row += kSlabRows) {
      task.w = reinterpret_cast<const std::uint8_t*>(w.data() + row * kColumns);
      task.y = y.data() + row;
      kernels.matmul[static_cast<std::size_t>(Fast::f32)](task);
    }
    return true;
  }
  bool library() {
    return multiply_onednn(
        {y.data(), kRows, x.data(), kColumns, w.data(), kColumns, kTokens, kRows, kColumns});
  }
  bool library_bf16() {
    const std::uint16_t* half = halves.data();
    return multiply_onednn_bf16(
        {y.data(), kRows, half, half, half, kColumns, kColumns, kTokens, kRows, kColumns});
  }
};

bool wins(double seconds, double others) {
  return seconds > 0 && seconds < kAdvantage * others;
}

std::string_view name_of(Gemm gemm) {
  return gemm == Gemm::own ? "own" : gemm == Gemm::library ? "onednn_f32" : "onednn_bf16";
}

}  // namespace

GemmChoice measure_gemm(const Kernels& kernels, const Log& log) {
  Operands operands;
  const double own = shortest([&] { return operands.own(kernels); });
  const double library = shortest([&] { return operands.library(); });
  const double bf16 = has_onednn_bf16() ? shortest([&] { return operands.library_bf16(); }) : 0;
  GemmChoice choice;
  if (wins(library, own)) choice.others = choice.bf16 = Gemm::library;
  if (wins(bf16, choice.bf16 == Gemm::own ? own : library)) choice.bf16 = Gemm::library_bf16;
  log(LogLevel::debug, "cpu float_products bf16_weights=", name_of(choice.bf16),
      " other_weights=", name_of(choice.others), " own_ms=", 1e3 * own,
      " onednn_f32_ms=", 1e3 * library, " onednn_bf16_ms=", 1e3 * bf16);
  return choice;
}

}  // namespace runnel::cpu
