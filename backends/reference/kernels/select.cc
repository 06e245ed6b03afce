// last_row: the row of the step's last token. argmax: the lowest index of each row's maximum.
// Nothing exceeds NaN, and NaN exceeds nothing: it is the maximum where it stands first, else
// passed over.
#include <algorithm>

#include "backends/reference/kernels/kernels.h"

namespace runnel::reference::kernels {

Status last_row(const Step& step, const StepContext& context) {
  const Operand& x = step.in[0];
  std::copy_n(x.row(x.rows(context.params.n_tokens) - 1), x.cols(), step.out[0].row(0));
  return {};
}

Status argmax(const Step& step, const StepContext& context) {
  const Operand& x = step.in[0];
  for (std::int64_t t = 0; t < x.rows(context.params.n_tokens); ++t) {
    const float* row = x.row(t);
    step.out[0].ids()[t] = static_cast<std::int32_t>(std::max_element(row, row + x.cols()) - row);
  }
  return {};
}

}  // namespace runnel::reference::kernels
