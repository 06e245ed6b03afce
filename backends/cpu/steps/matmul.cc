// matmul: y = x W^T (+ bias). matmul_swiglu: silu(x Wgate^T) * (x Wup^T). Tasks are groups of
// weight rows, each with all tokens: a weight is read from memory once per step.
#include "backends/cpu/onednn.h"
#include "backends/cpu/steps/panels.h"
#include "backends/cpu/steps/product.h"
#include "backends/cpu/steps/steps.h"
#include "runtime/base/checked.h"

namespace runnel::cpu::steps {
namespace {

// Everything but the weight rows and y. Rounds x when needed, and waits for it.
MatmulTask prepare_input(const Step& step, const StepContext& context, std::int64_t n_rows) {
  const Operand& x = step.in[0];
  MatmulTask task{};
  task.k = x.cols();
  task.n_tokens = n_rows;
  task.x_stride = prepared_row_bytes(step.format, task.k);
  task.x = reinterpret_cast<const std::uint8_t*>(x.data);
  if (!rounds_input(step.format)) return task;
  task.x = reinterpret_cast<const std::uint8_t*>(context.shared);
  if (!step.input_ready) {
    if (takes_panels(step, n_rows))
      pack_tiles(step, context, n_rows, context.shared);
    else
      round_rows(step, context, n_rows, context.shared);
    context.pool.barrier();
  }
  return task;
}

Scratch product_scratch(const Graph& graph, const Node& node, Fast format, std::size_t extra) {
  const Value &x = graph.value(node.in[0]), &w = graph.value(node.in[1]);
  const std::int64_t k = x.shape.cols(), max_rows = x.shape[0];
  Scratch scratch;
  scratch.own = align_up(slab_bytes(w.dtype, k, max_rows), 64) + extra;
  if (rounds_input(format)) {
    scratch.shared = static_cast<std::size_t>(prepared_row_bytes(format, k) * max_rows);
    if (max_rows >= kPanelMinTokens) {
      scratch.shared = std::max(scratch.shared, tiles_bytes(format, k, max_rows));
      scratch.own = std::max(scratch.own, panel_scratch_bytes(format, k));
    }
  }
  return scratch;
}

std::size_t slab_of(const Step& step, const Operand& w) {
  const std::size_t bytes = step.product == Product::library
                                ? gemm_slab_bytes(w.dtype, w.cols())
                                : slab_bytes(w.dtype, w.cols(), step.in[0].shape[0]);
  return align_up(bytes, 64);
}

Fast format_of(const Graph& graph, const Node& node) {
  return fast_format(graph.value(node.in[1]).dtype);
}

// Of the up rows of a task.
std::size_t up_bytes(const Graph& graph, const Node& node, std::int64_t slab_rows) {
  const std::int64_t max_rows = graph.value(node.in[0]).shape[0];
  const std::int64_t few = std::min(max_rows, kManyTokens - 1) * kMostRows;
  return sizeof(float) * static_cast<std::size_t>(std::max(max_rows * slab_rows, few));
}

}  // namespace

Scratch matmul_scratch(const Graph& graph, const Node& node) {
  return product_scratch(graph, node, format_of(graph, node), 0);
}

Scratch matmul_bf16_scratch(const Graph& graph, const Node& node) {
  return product_scratch(graph, node, Fast::bf16_dots, 0);
}

void matmul(const Step& step, const StepContext& context) {
  const Operand &w = step.in[1], &bias = step.in[2], &out = step.out[0];
  const std::int64_t n_rows = step.in[0].rows(context.params.n_tokens), n_out = w.shape[0];
  MatmulTask task = prepare_input(step, context, n_rows);
  const bool panels = takes_panels(step, n_rows);
  const std::int64_t grain = panels ? panels_per_task(step.format, task.k) * kPanelRows
                                    : rows_per_task(step, n_out, n_rows, context.pool.size());
  for (std::int64_t first; (first = context.take_task() * grain) < n_out;) {
    task.y = out.row(0) + first;
    task.y_stride = n_out;
    task.n_rows = std::min(grain, n_out - first);
    if (panels)
      multiply_panels(step, w,
                      {first, task.n_rows, context.shared, n_rows, task.y, n_out, context.own});
    else
      multiply(step, w, first, task, context.own);
    if (!bias.present()) continue;
    for (std::int64_t t = 0; t < n_rows; ++t) {
      float* y = task.y + t * n_out;
      step.kernels->add(y, y, bias.row(0) + first, task.n_rows);
    }
  }
}

Scratch matmul_swiglu_scratch(const Graph& graph, const Node& node) {
  return product_scratch(graph, node, format_of(graph, node), up_bytes(graph, node, kSlabRows));
}

Scratch matmul_swiglu_bf16_scratch(const Graph& graph, const Node& node) {
  return product_scratch(graph, node, Fast::bf16_dots, up_bytes(graph, node, kGemmRows));
}

Scratch library_scratch(const Graph& graph, const Node& node) {
  const Value& w = graph.value(node.in[1]);
  Scratch scratch;
  scratch.own = align_up(gemm_slab_bytes(w.dtype, w.shape.cols()), 64);
  if (node.op == Op::matmul_swiglu) scratch.own += up_bytes(graph, node, kGemmRows);
  return scratch;
}

void matmul_swiglu(const Step& step, const StepContext& context) {
  const Operand &x = step.in[0], &gate = step.in[1], &up = step.in[2], &out = step.out[0];
  const std::int64_t n_rows = x.rows(context.params.n_tokens), n_out = gate.shape[0];
  MatmulTask task = prepare_input(step, context, n_rows);
  if (takes_panels(step, n_rows)) {
    const std::int64_t rows = panels_per_task(step.format, task.k) / 2 * kPanelRows;
    for (std::int64_t first; (first = context.take_task() * rows) < n_out;)
      multiply_swiglu_panels(step, {first, std::min(rows, n_out - first), context.shared, n_rows,
                                    out.row(0) + first, n_out, context.own});
    return;
  }
  const std::int64_t grain = rows_per_task(step, n_out, n_rows, context.pool.size());
  auto* up_rows = reinterpret_cast<float*>(context.own + slab_of(step, gate));
  for (std::int64_t first; (first = context.take_task() * grain) < n_out;) {
    float* y = out.row(0) + first;
    task.n_rows = std::min(grain, n_out - first);
    task.y = y;
    task.y_stride = n_out;
    multiply(step, gate, first, task, context.own);
    task.y = up_rows;
    task.y_stride = task.n_rows;
    multiply(step, up, first, task, context.own);
    for (std::int64_t t = 0; t < n_rows; ++t)
      step.kernels->swiglu(y + t * n_out, y + t * n_out, up_rows + t * task.n_rows, task.n_rows);
  }
}

}  // namespace runnel::cpu::steps
