// How far results may be from the reference, and whether they are within.
#pragma once
#include <string>
#include <vector>

#include "tests/conformance/case_run.h"

namespace runnel::conformance {

/// Largest allowed error of the f32 outputs of `op` with weights (or pages) of `dtype`:
/// max |got - expected| / rms(expected), and four times the rms error of results with enough
/// values. Integers and states must be equal.
double tolerance(Op op, DType dtype);

/// Result of comparing all tensors of a case.
struct Difference {
  double error = 0;    // largest normalised error seen
  std::string reason;  // empty: within the tolerance
};

Difference compare(const std::vector<Tensor>& got,
                   const std::vector<Tensor>& expected,
                   double max_error);

}  // namespace runnel::conformance
