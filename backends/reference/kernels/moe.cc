// moe_route: chooses k experts per token by score + selection bias, weighs them by score alone.
// moe_matmul: each row times the matrix of its expert. moe_sum: weighted sum of a token's k rows.
#include <algorithm>
#include <limits>

#include "backends/reference/kernels/kernels.h"
#include "backends/reference/kernels/row_math.h"

namespace runnel::reference::kernels {
namespace {

/// Turns router logits into scores: each for itself, or a softmax over all experts.
void score_row(float* score, const float* logits, std::int64_t n, Gating gating) {
  if (gating == Gating::sigmoid) {
    for (std::int64_t e = 0; e < n; ++e) score[e] = 1.0f / (1.0f + std::exp(-logits[e]));
    return;
  }
  const float maximum = *std::max_element(logits, logits + n);
  float sum = 0.0f;
  for (std::int64_t e = 0; e < n; ++e) sum += score[e] = std::exp(logits[e] - maximum);
  for (std::int64_t e = 0; e < n; ++e) score[e] /= sum;
}

}  // namespace

std::int64_t moe_route_scratch(const Graph& graph, const Node& node) {
  return 3 * graph.value(node.in[0]).shape.cols();
}

Status moe_route(const Step& step, const StepContext& context) {
  const Operand &logits = step.in[0], &bias = step.in[1];
  const auto& attr = step.attr_as<MoeRouteAttr>();
  const std::int64_t n_experts = logits.cols(), k = attr.n_used;
  float *score = context.scratch, *rank = score + n_experts, *bias_row = rank + n_experts;
  if (bias.present()) bias.decode_row(0, bias_row);
  for (std::int64_t t = 0; t < logits.rows(context.params.n_tokens); ++t) {
    float* weights = step.out[0].row(t);
    std::int32_t* ids = step.out[1].ids() + t * k;
    score_row(score, logits.row(t), n_experts, attr.gating);
    for (std::int64_t e = 0; e < n_experts; ++e)
      rank[e] = bias.present() ? score[e] + bias_row[e] : score[e];
    float sum = 0.0f;
    for (std::int64_t j = 0; j < k; ++j) {  // best first; among equals the lowest expert
      const std::int64_t best = std::max_element(rank, rank + n_experts) - rank;
      ids[j] = static_cast<std::int32_t>(best);
      sum += weights[j] = score[best];
      rank[best] = -std::numeric_limits<float>::infinity();
    }
    const float divisor = attr.normalise ? sum + attr.norm_eps : 1.0f;
    for (std::int64_t j = 0; j < k; ++j) weights[j] = weights[j] / divisor * attr.scale;
  }
  return {};
}

std::int64_t moe_matmul_scratch(const Graph& graph, const Node& node) {
  return graph.value(node.in[1]).shape.cols();
}

Status moe_matmul(const Step& step, const StepContext& context) {
  const Operand &x = step.in[0], &w = step.in[1], &ids = step.in[2];
  const std::int64_t n_experts = w.shape[0], n_out = w.shape[1], k = w.cols();
  const std::int64_t n_rows = ids.rows(context.params.n_tokens) * ids.cols();
  // x has one row per token (shared by its experts), or one row per (token, expert).
  const std::int64_t rows_per_x = x.shape[0] == ids.shape[0] ? ids.cols() : 1;
  const std::int32_t* id = ids.ids();
  for (std::int64_t r = 0; r < n_rows; ++r)
    if (id[r] < 0 || id[r] >= n_experts)
      return {Code::invalid_argument, "expert " + std::to_string(id[r]) + " does not exist"};
  for (std::int64_t e = 0; e < n_experts; ++e) {
    if (std::find(id, id + n_rows, e) == id + n_rows) continue;
    for (std::int64_t n = 0; n < n_out; ++n) {
      w.decode_row(e * n_out + n, context.scratch);
      for (std::int64_t r = 0; r < n_rows; ++r)
        if (id[r] == e) step.out[0].row(r)[n] = dot(x.row(r / rows_per_x), context.scratch, k);
    }
  }
  return {};
}

Status moe_sum(const Step& step, const StepContext& context) {
  const Operand &y = step.in[0], &weights = step.in[1], &out = step.out[0];
  const std::int64_t k = weights.cols();
  for (std::int64_t t = 0; t < weights.rows(context.params.n_tokens); ++t) {
    std::fill_n(out.row(t), out.cols(), 0.0f);
    for (std::int64_t j = 0; j < k; ++j) {
      const float weight = weights.row(t)[j];
      for (std::int64_t c = 0; c < out.cols(); ++c) out.row(t)[c] += weight * y.row(t * k + j)[c];
    }
  }
  return {};
}

}  // namespace runnel::reference::kernels
