// rms_norm: each group of d columns divided by its root mean square, times the weight [d].
// add_rms_norm: the sum of two rows, and its rms_norm.
#include "backends/reference/kernels/kernels.h"
#include "backends/reference/kernels/row_math.h"

namespace runnel::reference::kernels {

std::int64_t rms_norm_scratch(const Graph& graph, const Node& node) {
  return graph.value(node.in[1]).shape.elems();
}

Status rms_norm(const Step& step, const StepContext& context) {
  const Operand &x = step.in[0], &weight = step.in[1];
  const std::int64_t d = weight.shape.elems();
  weight.decode_row(0, context.scratch);
  for (std::int64_t t = 0; t < x.rows(context.params.n_tokens); ++t)
    rms_norm_row(step.out[0].row(t), x.row(t), context.scratch, x.cols(), d,
                 step.attr_as<RmsNormAttr>().eps);
  return {};
}

std::int64_t add_rms_norm_scratch(const Graph& graph, const Node& node) {
  return graph.value(node.in[2]).shape.elems();
}

Status add_rms_norm(const Step& step, const StepContext& context) {
  const Operand &a = step.in[0], &b = step.in[1], &weight = step.in[2];
  const std::int64_t d = weight.shape.elems();
  weight.decode_row(0, context.scratch);
  for (std::int64_t t = 0; t < a.rows(context.params.n_tokens); ++t) {
    float* sum = step.out[0].row(t);
    for (std::int64_t i = 0; i < a.cols(); ++i) sum[i] = a.row(t)[i] + b.row(t)[i];
    rms_norm_row(step.out[1].row(t), sum, context.scratch, a.cols(), d,
                 step.attr_as<RmsNormAttr>().eps);
  }
  return {};
}

}  // namespace runnel::reference::kernels
