// moe_route: chooses k experts per token by score + selection bias, weighs them by score alone.
// moe_matmul: rows are gathered per expert, so that an expert's weights are read once per step.
// moe_sum: weighted sum of a token's k rows.
#include <cmath>
#include <limits>

#include "backends/cpu/steps/product.h"
#include "backends/cpu/steps/steps.h"
#include "runtime/base/checked.h"

namespace runnel::cpu::steps {
namespace {

// Turns router logits into scores: each for itself, or a softmax over all experts.
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

// Rows of the product in the order of their experts, in shared scratch.
struct Gathered {
  std::int32_t* n_active;  // experts with rows
  std::int32_t* active;    // [experts] which ones, ascending
  std::int32_t* begin;     // [experts + 1] first row of each in:
  std::int32_t* y_row;     // [rows] row of the result
  std::int32_t* x_row;     // [rows] row of x

  Gathered(std::byte* scratch, std::int64_t n_experts, std::int64_t n_rows)
      : n_active(reinterpret_cast<std::int32_t*>(scratch)),
        active(n_active + 16),
        begin(active + n_experts),
        y_row(begin + n_experts + 1),
        x_row(y_row + n_rows) {}
  static std::size_t bytes(std::int64_t n_experts, std::int64_t n_rows) {
    return align_up(static_cast<std::size_t>(17 + 2 * n_experts + 2 * n_rows) * 4, 64);
  }
};

// Counting sort of the rows by expert. Rows of unknown experts are left out and reported.
void gather(const Step& step, const StepContext& context, std::int64_t n_rows, Gathered to) {
  const Operand &x = step.in[0], &w = step.in[1], &ids = step.in[2];
  const std::int64_t n_experts = w.shape[0];
  const std::int64_t rows_per_x = x.shape[0] == ids.shape[0] ? ids.cols() : 1;
  const auto known = [&](std::int64_t r) { return ids.ids()[r] >= 0 && ids.ids()[r] < n_experts; };
  std::fill_n(to.begin, n_experts + 1, 0);
  for (std::int64_t r = 0; r < n_rows; ++r) {
    if (known(r))
      ++to.begin[ids.ids()[r] + 1];
    else
      context.fail("moe_matmul: an expert's number is out of range");
  }
  *to.n_active = 0;
  for (std::int32_t e = 0; e < n_experts; ++e) {
    if (to.begin[e + 1] > 0) to.active[(*to.n_active)++] = e;
    to.begin[e + 1] += to.begin[e];
  }
  for (std::int64_t r = 0; r < n_rows; ++r) {
    if (!known(r)) continue;
    const std::int32_t at = to.begin[ids.ids()[r]]++;
    to.y_row[at] = static_cast<std::int32_t>(r);
    to.x_row[at] = static_cast<std::int32_t>(r / rows_per_x);
  }
  for (std::int64_t e = n_experts; e > 0; --e) to.begin[e] = to.begin[e - 1];  // undo the ++
  to.begin[0] = 0;
}

Scratch moe_scratch(const Graph& graph, const Node& node, Fast format) {
  const Value &x = graph.value(node.in[0]), &w = graph.value(node.in[1]);
  const std::int64_t max_rows = graph.value(node.out[0]).shape[0], k = w.shape.cols();
  Scratch scratch;
  scratch.shared = Gathered::bytes(w.shape[0], max_rows);
  if (rounds_input(format))
    scratch.shared += static_cast<std::size_t>(prepared_row_bytes(format, k) * x.shape[0]);
  scratch.own = slab_bytes(w.dtype, k, max_rows);
  return scratch;
}

}  // namespace

Scratch moe_route_scratch(const Graph& graph, const Node& node) {
  Scratch scratch;
  scratch.own = 2 * sizeof(float) * static_cast<std::size_t>(graph.value(node.in[0]).shape.cols());
  return scratch;
}

void moe_route(const Step& step, const StepContext& context) {
  const Operand &logits = step.in[0], &bias = step.in[1];
  const auto& attr = step.attr_as<MoeRouteAttr>();
  const std::int64_t n_experts = logits.cols(), k = attr.n_used;
  auto *score = reinterpret_cast<float*>(context.own), *rank = score + n_experts;
  const Range rows = context.share(logits.rows(context.params.n_tokens));
  for (std::int64_t t = rows.begin; t < rows.end; ++t) {
    float* weights = step.out[0].row(t);
    std::int32_t* ids = step.out[1].ids() + t * k;
    score_row(score, logits.row(t), n_experts, attr.gating);
    for (std::int64_t e = 0; e < n_experts; ++e)
      rank[e] = bias.present() ? score[e] + bias.row(0)[e] : score[e];
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
}

Scratch moe_matmul_scratch(const Graph& graph, const Node& node) {
  return moe_scratch(graph, node, fast_format(graph.value(node.in[1]).dtype));
}

Scratch moe_matmul_bf16_scratch(const Graph& graph, const Node& node) {
  return moe_scratch(graph, node, Fast::bf16_dots);
}

void moe_matmul(const Step& step, const StepContext& context) {
  const Operand &x = step.in[0], &w = step.in[1], &ids = step.in[2], &out = step.out[0];
  const std::int64_t n_tokens = context.params.n_tokens, n_out = w.shape[1];
  const std::int64_t n_rows = ids.rows(n_tokens) * ids.cols();
  const Gathered rows(context.shared, w.shape[0], n_rows);
  if (context.thread == 0) gather(step, context, n_rows, rows);
  MatmulTask task{};
  task.k = w.cols();
  task.x = reinterpret_cast<const std::uint8_t*>(x.data);
  task.x_stride = prepared_row_bytes(step.format, task.k);
  if (rounds_input(step.format)) {
    std::byte* rounded = context.shared + Gathered::bytes(w.shape[0], out.shape[0]);
    round_rows(step, context, x.rows(n_tokens), rounded);
    task.x = reinterpret_cast<const std::uint8_t*>(rounded);
  }
  context.pool.barrier();

  const std::int64_t n_active = std::max(*rows.n_active, 1);
  const std::int64_t grain = rows_per_task(step, n_out, n_rows / n_active, context.pool.size());
  const std::int64_t parts = (n_out + grain - 1) / grain;
  for (std::int64_t i; (i = context.take_task()) < *rows.n_active * parts;) {
    const std::int32_t expert = rows.active[i / parts];
    const std::int64_t first = i % parts * grain, begin = rows.begin[expert];
    task.n_tokens = rows.begin[expert + 1] - begin;
    task.n_rows = std::min(grain, n_out - first);
    task.x_index = rows.x_row + begin;
    task.y_index = rows.y_row + begin;
    task.y = out.row(0) + first;
    task.y_stride = n_out;
    // The slab holds kSlabRows: an expert with many tokens takes its part in several slabs.
    for (std::int64_t done = 0, left = task.n_rows; left > 0;
         done += kSlabRows, left -= kSlabRows) {
      task.n_rows = std::min(left, kSlabRows);
      task.y = out.row(0) + first + done;
      multiply(step, w, expert * n_out + first + done, task, context.own);
    }
  }
}

void moe_sum(const Step& step, const StepContext& context) {
  const Operand &y = step.in[0], &weights = step.in[1], &out = step.out[0];
  const std::int64_t k = weights.cols(), d = out.cols();
  const Range rows = context.share(weights.rows(context.params.n_tokens));
  for (std::int64_t t = rows.begin; t < rows.end; ++t) {
    std::fill_n(out.row(t), d, 0.0f);
    for (std::int64_t j = 0; j < k; ++j)
      step.kernels->multiply_add(out.row(t), y.row(t * k + j), weights.row(t)[j], d);
  }
}

}  // namespace runnel::cpu::steps
