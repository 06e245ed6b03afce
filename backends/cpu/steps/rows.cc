// Ops that treat rows, heads or channels alone: embed, norms, add, swiglu, short_conv, last_row,
// argmax. Each thread takes one contiguous share.
#include <cstring>

#include "backends/cpu/steps/steps.h"

namespace runnel::cpu::steps {
namespace {

constexpr std::int64_t kCacheLineFloats = 16;

}  // namespace

Scratch no_scratch(const Graph&, const Node&) {
  return {};
}

void embed(const Step& step, const StepContext& context) {
  const Operand &table = step.in[0], &ids = step.in[1], &out = step.out[0];
  const Range rows = context.share(ids.rows(context.params.n_tokens));
  for (std::int64_t t = rows.begin; t < rows.end; ++t) {
    const std::int32_t id = ids.ids()[t];
    if (id < 0 || id >= table.shape[0]) {
      std::fill_n(out.row(t), out.cols(), 0.0f);
      context.fail("embed: a token id is outside the vocabulary");
      continue;
    }
    const std::byte* row = table.data + id * table.row_bytes();
    if (table.dtype == DType::f16)
      step.kernels->from_f16(row, out.row(t), out.cols());
    else if (table.dtype == DType::bf16)
      step.kernels->from_bf16(row, out.row(t), out.cols());
    else
      quant::codec(table.dtype).decode_row(row, out.row(t), out.cols());
  }
}

const float* norm_weight(const Operand& weight, std::byte* scratch) {
  if (weight.dtype == DType::f32) return weight.row(0);
  auto* decoded = reinterpret_cast<float*>(scratch);
  quant::codec(weight.dtype).decode_row(weight.data, decoded, weight.cols());
  return decoded;
}

std::size_t norm_weight_bytes(const Value& weight) {
  return weight.dtype == DType::f32
             ? 0
             : sizeof(float) * static_cast<std::size_t>(weight.shape.elems());
}

Scratch norm_scratch(const Graph& graph, const Node& node) {
  Scratch scratch;
  scratch.own = norm_weight_bytes(graph.value(node.in.back()));
  return scratch;
}

void rms_norm(const Step& step, const StepContext& context) {
  const Operand &x = step.in[0], &weight = step.in[1], &out = step.out[0];
  const float* w = norm_weight(weight, context.own);
  const float eps = step.attr_as<RmsNormAttr>().eps;
  const std::int64_t d = weight.shape.elems();
  const Range groups = context.share(x.rows(context.params.n_tokens) * x.cols() / d);
  for (std::int64_t i = groups.begin; i < groups.end; ++i)
    step.kernels->rms_norm(out.row(0) + i * d, x.row(0) + i * d, w, d, eps);
}

void add_rms_norm(const Step& step, const StepContext& context) {
  const Operand &a = step.in[0], &b = step.in[1], &weight = step.in[2];
  const float* w = norm_weight(weight, context.own);
  const float eps = step.attr_as<RmsNormAttr>().eps;
  const std::int64_t d = weight.shape.elems();
  const Range groups = context.share(a.rows(context.params.n_tokens) * a.cols() / d);
  for (std::int64_t i = groups.begin; i < groups.end; ++i) {
    float* sum = step.out[0].row(0) + i * d;
    step.kernels->add(sum, a.row(0) + i * d, b.row(0) + i * d, d);
    step.kernels->rms_norm(step.out[1].row(0) + i * d, sum, w, d, eps);
  }
}

void add(const Step& step, const StepContext& context) {
  const Operand &a = step.in[0], &b = step.in[1];
  const Range part = context.share(a.rows(context.params.n_tokens) * a.cols(), kCacheLineFloats);
  step.kernels->add(step.out[0].row(0) + part.begin, a.row(0) + part.begin, b.row(0) + part.begin,
                    part.end - part.begin);
}

void swiglu(const Step& step, const StepContext& context) {
  const Operand &gate = step.in[0], &up = step.in[1];
  const Range part =
      context.share(gate.rows(context.params.n_tokens) * gate.cols(), kCacheLineFloats);
  step.kernels->swiglu(step.out[0].row(0) + part.begin, gate.row(0) + part.begin,
                       up.row(0) + part.begin, part.end - part.begin);
}

void short_conv(const Step& step, const StepContext& context) {
  const Operand &filter = step.in[1], &state = step.in[2], &bias = step.in[3];
  ConvTask task{};
  task.out = step.out[0].row(0);
  task.bcx = step.in[0].row(0);
  task.filter = filter.row(0);
  task.bias = bias.present() ? bias.row(0) : nullptr;
  task.ring = reinterpret_cast<float*>(context.state(state).host_pages[0]);
  task.d = filter.shape[0];
  task.taps = filter.shape[1];
  task.ring_columns = state.shape[0];
  task.n_tokens = context.params.n_tokens;
  task.pos = context.params.pos;
  const Range channels = context.share(task.d, kCacheLineFloats);
  task.first = channels.begin;
  task.last = channels.end;
  step.kernels->short_conv(task);
}

void last_row(const Step& step, const StepContext& context) {
  const Operand& x = step.in[0];
  if (context.thread != 0) return;
  std::copy_n(x.row(x.rows(context.params.n_tokens) - 1), x.cols(), step.out[0].row(0));
}

void argmax(const Step& step, const StepContext& context) {
  const Operand& x = step.in[0];
  const Range rows = context.share(x.rows(context.params.n_tokens));
  for (std::int64_t t = rows.begin; t < rows.end; ++t)
    step.out[0].ids()[t] = static_cast<std::int32_t>(step.kernels->argmax(x.row(t), x.cols()));
}

}  // namespace runnel::cpu::steps
