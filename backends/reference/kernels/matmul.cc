// matmul: out[t][n] = dot(x[t], W[n]) (+ bias[n]); 2*T*N*K flops. Each row of W is decoded once per
// step, then used for all tokens.
// matmul_swiglu: silu(x Wgate^T) * (x Wup^T).
#include "backends/reference/kernels/kernels.h"
#include "backends/reference/kernels/row_math.h"

namespace runnel::reference::kernels {

std::int64_t matmul_scratch(const Graph& graph, const Node& node) {
  const Shape& w = graph.value(node.in[1]).shape;
  return w[1] + (node.in.size() > 2 ? w[0] : 0);
}

Status matmul(const Step& step, const StepContext& context) {
  const Operand &x = step.in[0], &w = step.in[1], &bias = step.in[2];
  const std::int64_t n_rows = x.rows(context.params.n_tokens), k = w.cols();
  float *w_row = context.scratch, *bias_row = context.scratch + k;
  if (bias.present()) bias.decode_row(0, bias_row);
  for (std::int64_t n = 0; n < w.shape[0]; ++n) {
    w.decode_row(n, w_row);
    for (std::int64_t t = 0; t < n_rows; ++t) {
      const float sum = dot(x.row(t), w_row, k);
      step.out[0].row(t)[n] = bias.present() ? sum + bias_row[n] : sum;
    }
  }
  return {};
}

std::int64_t matmul_swiglu_scratch(const Graph& graph, const Node& node) {
  return 2 * graph.value(node.in[1]).shape[1];
}

Status matmul_swiglu(const Step& step, const StepContext& context) {
  const Operand &x = step.in[0], &gate = step.in[1], &up = step.in[2];
  const std::int64_t n_rows = x.rows(context.params.n_tokens), k = gate.cols();
  float *gate_row = context.scratch, *up_row = context.scratch + k;
  for (std::int64_t n = 0; n < gate.shape[0]; ++n) {
    gate.decode_row(n, gate_row);
    up.decode_row(n, up_row);
    for (std::int64_t t = 0; t < n_rows; ++t)
      step.out[0].row(t)[n] = silu(dot(x.row(t), gate_row, k)) * dot(x.row(t), up_row, k);
  }
  return {};
}

}  // namespace runnel::reference::kernels
