// rotate: gains, signed Hadamard transform of every 64 values, rounding to f16; each optional.
#include <algorithm>

#include "backends/reference/kernels/kernels.h"
#include "quant/half.h"

namespace runnel::reference::kernels {

Status rotate(const Step& step, const StepContext& context) {
  const Operand &x = step.in[0], &gains = step.in[1], &out = step.out[0];
  const auto& attr = step.attr_as<RotateAttr>();
  const std::int64_t cols = x.cols();
  for (std::int64_t r = 0; r < x.rows(context.params.n_tokens); ++r) {
    float* row = out.row(r);
    if (row != x.row(r)) std::copy_n(x.row(r), cols, row);
    if (gains.present())
      for (std::int64_t i = 0; i < cols; ++i) row[i] *= gains.row(0)[i];
    if (attr.transform)
      for (std::int64_t i = 0; i < cols; i += quant::kKvChannels)
        quant::hadamard_64(row + i, attr.signs, attr.direction);
    if (attr.round)
      for (std::int64_t i = 0; i < cols; ++i) row[i] = quant::f16_to_f32(quant::f32_to_f16(row[i]));
  }
  return {};
}

}  // namespace runnel::reference::kernels
