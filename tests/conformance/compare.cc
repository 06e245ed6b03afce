#include "tests/conformance/compare.h"

#include <cmath>
#include <limits>

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
// (one part in 254 of a block's maximum, seen as 4 standard deviations of a dot product), and to
// f16 or bf16 where the weights are; elsewhere only the order of f32 additions is free.
constexpr Row kTolerances[] = {
    // copies and single roundings
    {Op::embed, kAnyType, 1e-6},
    {Op::add, kAnyType, 0.0},
    {Op::last_row, kAnyType, 0.0},
    // matrix products
    {Op::matmul, DType::f32, 1e-4},
    {Op::matmul, DType::f16, 2e-3},
    {Op::matmul, DType::bf16, 2e-3},
    {Op::matmul, kAnyType, 3e-2},
    {Op::moe_matmul, DType::f32, 1e-4},
    {Op::moe_matmul, DType::f16, 2e-3},
    {Op::moe_matmul, DType::bf16, 2e-3},
    {Op::moe_matmul, kAnyType, 3e-2},
    // a product of two products: both errors, and a heavier tail
    {Op::matmul_swiglu, DType::f32, 2e-4},
    {Op::matmul_swiglu, DType::f16, 5e-3},
    {Op::matmul_swiglu, DType::bf16, 5e-3},
    {Op::matmul_swiglu, kAnyType, 8e-2},
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

Difference compare_f32(const Tensor& got, const Tensor& expected, double max_error) {
  double squares = 0;
  for (float v : expected.f32) squares += static_cast<double>(v) * v;
  const double rms = std::sqrt(squares / static_cast<double>(expected.f32.size()));
  double worst = 0;
  std::size_t where = 0;
  for (std::size_t i = 0; i < expected.f32.size(); ++i) {
    double distance = std::abs(static_cast<double>(got.f32[i]) - expected.f32[i]);
    if (std::isnan(distance)) distance = std::numeric_limits<double>::infinity();
    if (distance > worst) {
      worst = distance;
      where = i;
    }
  }
  Difference difference;
  difference.error = worst == 0 ? 0 : worst / rms;
  if (difference.error <= max_error) return difference;
  const auto index = static_cast<std::int64_t>(where);
  difference.reason = expected.name + "[" + std::to_string(index / expected.cols) + ", " +
                      std::to_string(index % expected.cols) + "] is " +
                      std::to_string(got.f32[where]) + ", expected " +
                      std::to_string(expected.f32[where]) + ", error " +
                      std::to_string(difference.error) + " > " + std::to_string(max_error);
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
