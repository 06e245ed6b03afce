#include "tests/conformance/compare.h"

#include <cmath>
#include <limits>
#include <sstream>

namespace runnel::conformance {
namespace {

constexpr Op kAnyOp = Op::count;
constexpr DType kAnyType = DType::count;

struct Row {
  Op op;
  DType dtype;
  double max_error;
};

// First match wins. Kernels may round activations to 8-bit blocks where the weights are quantised
// (half a step of a block's maximum / 127 moves a dot product by 0.7 % of its size, and one of a
// few thousand results by 4 such deviations), and to f16 or bf16 where the weights are (bf16: by up
// to 2^-9 of each value, 0.1 % of a dot product); elsewhere only the order of f32 additions is
// free.
constexpr Row kTolerances[] = {
    // copies and single roundings
    {Op::embed, kAnyType, 1e-6},
    {Op::add, kAnyType, 0.0},
    {Op::last_row, kAnyType, 0.0},
    // matrix products
    {Op::matmul, DType::f32, 1e-4},
    {Op::matmul, DType::f16, 2e-3},
    {Op::matmul, DType::bf16, 2e-2},
    {Op::matmul, kAnyType, 4e-2},
    {Op::moe_matmul, DType::f32, 1e-4},
    {Op::moe_matmul, DType::f16, 2e-3},
    {Op::moe_matmul, DType::bf16, 2e-2},
    {Op::moe_matmul, kAnyType, 4e-2},
    // a product of two products: both errors, and a heavier tail
    {Op::matmul_swiglu, DType::f32, 2e-4},
    {Op::matmul_swiglu, DType::f16, 5e-3},
    {Op::matmul_swiglu, DType::bf16, 6e-2},
    {Op::matmul_swiglu, kAnyType, 1.5e-1},
    // many tokens: queries and weights of the softmax in f16, as keys and values are
    {Op::attention, DType::f16, 5e-3},
    // queries and weights of the softmax in 8 bits where keys and values are coarser still, else
    // in 15 and 16
    {Op::tile_attention, DType::q8_0, 3e-3},
    // many tokens over 8-bit tiles: all of them in f16
    {Op::tile_attention, DType::f16, 8e-3},
    {Op::tile_attention, kAnyType, 1.6e-1},
    // everything else is f32 arithmetic
    {kAnyOp, kAnyType, 1e-4},
};

Difference compare_exact(const Tensor& got, const Tensor& expected) {
  for (std::size_t i = 0; i < expected.i32.size(); ++i)
    if (got.i32[i] != expected.i32[i])
      return {std::numeric_limits<double>::infinity(),
              expected.name + "[" + std::to_string(i) + "] is " + std::to_string(got.i32[i]) +
                  ", expected " + std::to_string(expected.i32[i])};
  return {};
}

// One wrong row or block among many hides below a limit that the luckiest of thousands must meet;
// it does not hide from the mean.
constexpr double kRmsShare = 0.25;  // rms error allowed, as a share of the largest error allowed
constexpr std::size_t kEnoughForRms = 64;  // values

Difference compare_f32(const Tensor& got, const Tensor& expected, double max_error) {
  const std::size_t n = expected.f32.size();
  double squares = 0, error_squares = 0, worst = 0;
  std::size_t where = 0;
  for (std::size_t i = 0; i < n; ++i) {
    double distance = std::abs(static_cast<double>(got.f32[i]) - expected.f32[i]);
    if (std::isnan(distance)) distance = std::numeric_limits<double>::infinity();
    squares += static_cast<double>(expected.f32[i]) * expected.f32[i];
    error_squares += distance * distance;
    if (distance > worst) {
      worst = distance;
      where = i;
    }
  }
  if (worst == 0) return {};
  const double size = std::sqrt(squares / static_cast<double>(n));
  const double rms_error = std::sqrt(error_squares / static_cast<double>(n)) / size;
  const bool rms_is_fine = n < kEnoughForRms || rms_error <= kRmsShare * max_error;
  Difference difference;
  difference.error = worst / size;
  if (difference.error <= max_error && rms_is_fine) return difference;
  std::ostringstream reason;
  reason << expected.name << "[" << where / static_cast<std::size_t>(expected.cols) << ", "
         << where % static_cast<std::size_t>(expected.cols) << "] is " << got.f32[where]
         << ", expected " << expected.f32[where] << ", error " << difference.error << " (limit "
         << max_error << "), rms error " << rms_error << " (limit " << kRmsShare * max_error << ")";
  difference.reason = reason.str();
  return difference;
}

}  // namespace

double tolerance(Op op, DType dtype) {
  for (const Row& row : kTolerances)
    if ((row.op == op || row.op == kAnyOp) && (row.dtype == dtype || row.dtype == kAnyType))
      return row.max_error;
  return 0;
}

Difference compare(const std::vector<Tensor>& got,
                   const std::vector<Tensor>& expected,
                   double max_error) {
  Difference worst;
  if (got.size() != expected.size()) worst.reason = "another number of results";
  for (std::size_t i = 0; worst.reason.empty() && i < expected.size(); ++i) {
    Difference difference;
    if (got[i].f32.size() != expected[i].f32.size() || got[i].i32.size() != expected[i].i32.size())
      difference.reason = expected[i].name + " has another size";
    else if (!expected[i].i32.empty())
      difference = compare_exact(got[i], expected[i]);
    else
      difference = compare_f32(got[i], expected[i], expected[i].is_state ? 0.0 : max_error);
    if (difference.error > worst.error || !difference.reason.empty()) worst = difference;
  }
  return worst;
}

}  // namespace runnel::conformance
