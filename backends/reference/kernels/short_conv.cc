// short_conv: double-gated depthwise causal convolution. With p = B * x (columns of the chunks B
// and x), z[t][c] = sum over k of filter[c][k] * p[t-(L-1)+k][c] (+ bias[c]), out = C * z.
// p of earlier steps comes from the ring, slot position % ring; p before position 0 is zero.
// All rows are computed before the ring is written: a step may be longer than the ring.
#include <algorithm>

#include "backends/reference/kernels/kernels.h"

namespace runnel::reference::kernels {

std::int64_t short_conv_scratch(const Graph& graph, const Node& node) {
  const Shape& filter = graph.value(node.in[1]).shape;
  return filter.elems() + (node.in.size() > 3 ? filter[0] : 0);
}

Status short_conv(const Step& step, const StepContext& context) {
  const Operand &bcx = step.in[0], &filter = step.in[1], &state = step.in[2], &bias = step.in[3];
  const std::int64_t pos = context.params.pos, n_tokens = context.params.n_tokens;
  const std::int64_t d = filter.shape[0], taps = filter.shape[1], ring_columns = state.shape[0];
  const StateBinding& binding = context.state(state);
  if (binding.host_pages.empty() || binding.host_pages[0] == nullptr)
    return {Code::invalid_argument, "the convolution ring is missing"};
  auto* ring = reinterpret_cast<float*>(binding.host_pages[0]);
  float *w = context.scratch, *bias_row = context.scratch + filter.shape.elems();
  for (std::int64_t c = 0; c < d; ++c) filter.decode_row(c, w + c * taps);
  if (bias.present()) bias.decode_row(0, bias_row);

  for (std::int64_t t = 0; t < n_tokens; ++t) {
    float* out = step.out[0].row(t);
    std::fill_n(out, d, 0.0f);
    for (std::int64_t k = 0; k < taps; ++k) {
      const std::int64_t source = pos + t - (taps - 1) + k;
      if (source < 0) continue;
      if (source < pos) {
        const float* p = ring + source % ring_columns * d;
        for (std::int64_t c = 0; c < d; ++c) out[c] += w[c * taps + k] * p[c];
      } else {
        const float *gate = bcx.row(source - pos), *x = gate + 2 * d;
        for (std::int64_t c = 0; c < d; ++c) out[c] += w[c * taps + k] * (gate[c] * x[c]);
      }
    }
    const float* out_gate = bcx.row(t) + d;
    for (std::int64_t c = 0; c < d; ++c)
      out[c] = out_gate[c] * (bias.present() ? out[c] + bias_row[c] : out[c]);
  }
  for (std::int64_t t = std::max<std::int64_t>(0, n_tokens - ring_columns); t < n_tokens; ++t) {
    const float *gate = bcx.row(t), *x = gate + 2 * d;
    float* p = ring + (pos + t) % ring_columns * d;
    for (std::int64_t c = 0; c < d; ++c) p[c] = gate[c] * x[c];
  }
  return {};
}

}  // namespace runnel::reference::kernels
