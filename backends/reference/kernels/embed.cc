// embed: out[t] = table[ids[t]], decoded to f32.
#include "backends/reference/kernels/kernels.h"

namespace runnel::reference::kernels {

Status embed(const Step& step, const StepContext& context) {
  const Operand &table = step.in[0], &ids = step.in[1];
  const std::int64_t n_rows = ids.rows(context.params.n_tokens);
  for (std::int64_t t = 0; t < n_rows; ++t) {
    const std::int32_t id = ids.ids()[t];
    if (id < 0 || id >= table.shape[0])
      return {Code::invalid_argument, "token id " + std::to_string(id) +
                                          " is outside the vocabulary of " +
                                          std::to_string(table.shape[0])};
    table.decode_row(id, step.out[0].row(t));
  }
  return {};
}

}  // namespace runnel::reference::kernels
