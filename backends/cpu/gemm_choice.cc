#include "backends/cpu/gemm_choice.h"

#include <chrono>
#include <cstddef>
#include <string_view>
#include <vector>

#include "backends/cpu/onednn.h"
#include "backends/cpu/steps/panels.h"

namespace runnel::cpu {
namespace {

constexpr std::int64_t kTokens = kGemmTokens, kRows = kGemmRows, kColumns = 1024;
constexpr int kPasses = 3;  // after one that warms up: oneDNN makes its code then
constexpr double kAdvantage = 0.9, kAdvantageInBf16 = 0.67;

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
  bool onednn() {
    return multiply_onednn(
        {y.data(), kRows, x.data(), kColumns, w.data(), kColumns, kTokens, kRows, kColumns});
  }
};

struct Bf16Operands {
  std::vector<std::uint16_t> x = std::vector<std::uint16_t>(kTokens * kColumns, 0x3F00);
  std::vector<std::uint16_t> w = std::vector<std::uint16_t>(kRows * kColumns, 0x3E80);
  std::vector<float> y = std::vector<float>(kTokens * kRows);
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  static std::vector<Line> lines(std::size_t bytes) { return std::vector<Line>(bytes / 64 + 1); }
  std::vector<Line> tiles = lines(tiles_bytes(Fast::bf16_dots, kColumns, kTokens));
  std::vector<Line> scratch = lines(panel_scratch_bytes(Fast::bf16_dots, kColumns));

  bool own(const Step& step) {
    const std::int64_t rows = panels_per_task(step.format, kColumns) * kPanelRows;
    for (std::int64_t row = 0; row < kRows; row += rows)
      multiply_panels(
          step, step.in[1],
          {row, rows, tiles.data()->bytes, kTokens, y.data() + row, kRows, scratch.data()->bytes});
    return true;
  }
  bool onednn() {
    return multiply_onednn_bf16(
        {y.data(), kRows, x.data(), kColumns, w.data(), kColumns, kTokens, kRows, kColumns});
  }
};

bool wins(std::string_view what, double library, double own, const Log& log) {
  const bool faster = library > 0 && library < kAdvantage * own;
  log(LogLevel::debug, "cpu products of ", what, " by=", faster ? "onednn" : "own",
      " own_ms=", 1e3 * own, " onednn_ms=", 1e3 * library);
  return faster;
}

}  // namespace

bool library_wins(const Kernels& kernels, const Log& log) {
  Operands operands;
  const double own = shortest([&] { return operands.own(kernels); });
  return wins("floats", shortest([&] { return operands.onednn(); }), own, log);
}

bool library_wins_in_bf16(const Kernels& kernels, const Log& log) {
  if (!has_onednn_bf16()) return false;
  Bf16Operands operands;
  Step step;
  step.kernels = &kernels;
  step.format = Fast::bf16_dots;
  step.in[0].shape = {kTokens, kColumns};
  step.in[1].shape = {kRows, kColumns};
  step.in[1].dtype = DType::bf16;
  step.in[1].data = reinterpret_cast<std::byte*>(operands.w.data());
  const double own = shortest([&] { return operands.own(step); });
  return wins("bf16", shortest([&] { return operands.onednn(); }), own, log);
}

}  // namespace runnel::cpu
