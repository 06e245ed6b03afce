// add: a + b. swiglu: silu(gate) * up.
#include "backends/reference/kernels/kernels.h"
#include "backends/reference/kernels/row_math.h"

namespace runnel::reference::kernels {

Status add(const Step& step, const StepContext& context) {
  const float *a = step.in[0].row(0), *b = step.in[1].row(0);
  const std::int64_t n = step.in[0].rows(context.params.n_tokens) * step.in[0].cols();
  for (std::int64_t i = 0; i < n; ++i) step.out[0].row(0)[i] = a[i] + b[i];
  return {};
}

Status swiglu(const Step& step, const StepContext& context) {
  const float *gate = step.in[0].row(0), *up = step.in[1].row(0);
  const std::int64_t n = step.in[0].rows(context.params.n_tokens) * step.in[0].cols();
  for (std::int64_t i = 0; i < n; ++i) step.out[0].row(0)[i] = silu(gate[i]) * up[i];
  return {};
}

}  // namespace runnel::reference::kernels
