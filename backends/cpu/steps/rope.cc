// rope: the first rotary_dim columns of each head rotate in pairs by pos * theta^(-2i/rotary_dim),
// divided by freq_factors[i] when given. rms_norm_rope: rms_norm of each head, then rope.
// The cosines and sines of a step's positions are computed once, in f64, into a table that all rope
// steps with the same attributes share. SOURCE: RoFormer, arXiv:2104.09864, eq. 15.
#include <cmath>

#include "backends/cpu/steps/steps.h"

namespace runnel::cpu::steps {
namespace {

float* table_of(const Step& step, const StepContext& context) {
  return reinterpret_cast<float*>(context.tables + step.table_offset);
}

// Fills the table [n_tokens][cosines, sines] unless an earlier step did.
void prepare_table(const Step& step, const StepContext& context, const Operand& factors) {
  if (step.table_ready) return;
  const auto& attr = step.attr_as<RopeAttr>();
  const std::int64_t n_pairs = attr.rotary_dim / 2;
  const Range tokens = context.share(context.params.n_tokens);
  auto* speed = reinterpret_cast<double*>(context.own);
  for (std::int64_t i = 0; i < n_pairs && tokens.begin < tokens.end; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / attr.rotary_dim;
    speed[i] = std::pow(static_cast<double>(attr.theta), exponent);
    if (factors.present()) speed[i] /= static_cast<double>(factors.row(0)[i]);
  }
  for (std::int64_t t = tokens.begin; t < tokens.end; ++t) {
    float* cosine = table_of(step, context) + t * attr.rotary_dim;
    for (std::int64_t i = 0; i < n_pairs; ++i) {
      const double angle = static_cast<double>(context.params.pos + t) * speed[i];
      cosine[i] = static_cast<float>(std::cos(angle));
      cosine[n_pairs + i] = static_cast<float>(std::sin(angle));
    }
  }
  context.pool.barrier();
}

void rotate(
    const Step& step, const RopeAttr& attr, const float* cos_sin, float* out, const float* x) {
  const std::int64_t n_pairs = attr.rotary_dim / 2;
  if (attr.style == RopeStyle::half) {
    step.kernels->rotate_half(out, x, cos_sin, n_pairs);
  } else {
    for (std::int64_t i = 0; i < n_pairs; ++i) {
      const float a = x[2 * i], b = x[2 * i + 1], c = cos_sin[i], s = cos_sin[n_pairs + i];
      out[2 * i] = a * c - b * s;
      out[2 * i + 1] = b * c + a * s;
    }
  }
  if (out != x) std::copy(x + attr.rotary_dim, x + attr.head_dim, out + attr.rotary_dim);
}

}  // namespace

Scratch rope_scratch(const Graph& graph, const Node& node) {
  const RopeAttr* attr = std::get_if<RopeAttr>(&node.attr);
  if (attr == nullptr) return {};
  const auto rotary_dim = static_cast<std::size_t>(attr->rotary_dim);
  Scratch scratch;
  scratch.tables = static_cast<std::size_t>(graph.max_tokens()) * rotary_dim * sizeof(float);
  scratch.own = rotary_dim / 2 * sizeof(double);
  if (node.op == Op::rms_norm_rope)
    scratch.own = std::max(scratch.own, norm_weight_bytes(graph.value(node.in[1])));
  return scratch;
}

void rope(const Step& step, const StepContext& context) {
  const Operand &x = step.in[0], &out = step.out[0];
  const auto& attr = step.attr_as<RopeAttr>();
  prepare_table(step, context, step.in[1]);
  const std::int64_t n_heads = x.cols() / attr.head_dim;
  const Range heads = context.share(context.params.n_tokens * n_heads);
  for (std::int64_t i = heads.begin; i < heads.end; ++i)
    rotate(step, attr, table_of(step, context) + i / n_heads * attr.rotary_dim,
           out.row(0) + i * attr.head_dim, x.row(0) + i * attr.head_dim);
}

void rms_norm_rope(const Step& step, const StepContext& context) {
  const Operand &x = step.in[0], &weight = step.in[1], &out = step.out[0];
  const auto& attr = step.attr_as<RopeAttr>();
  prepare_table(step, context, step.in[2]);
  const float* w = norm_weight(weight, context.own);
  const std::int64_t n_heads = x.cols() / attr.head_dim;
  const Range heads = context.share(context.params.n_tokens * n_heads);
  for (std::int64_t i = heads.begin; i < heads.end; ++i) {
    float* head = out.row(0) + i * attr.head_dim;
    step.kernels->rms_norm(head, x.row(0) + i * attr.head_dim, w, attr.head_dim, attr.eps);
    rotate(step, attr, table_of(step, context) + i / n_heads * attr.rotary_dim, head, head);
  }
}

}  // namespace runnel::cpu::steps
