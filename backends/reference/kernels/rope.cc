// rope: the first rotary_dim columns of each head rotate in pairs by pos * theta^(-2i/rotary_dim),
// divided by freq_factors[i] when given. Angles are computed in f64: their error would grow with
// the position. SOURCE: RoFormer, arXiv:2104.09864, eq. 15; pairs as in GPT-NeoX or GPT-J.
// rms_norm_rope: rms_norm of each head, then rope.
#include <algorithm>

#include "backends/reference/kernels/kernels.h"
#include "backends/reference/kernels/row_math.h"

namespace runnel::reference::kernels {
namespace {

/// Scratch of one step: cosines, sines and frequency factors [rotary_dim / 2] each.
struct Rotation {
  float *cosine, *sine, *factor;
  std::int64_t n_pairs;

  Rotation(float* scratch, const RopeAttr& attr, const Operand& factors)
      : cosine(scratch),
        sine(scratch + attr.rotary_dim / 2),
        factor(sine + attr.rotary_dim / 2),
        n_pairs(attr.rotary_dim / 2) {
    if (factors.present())
      factors.decode_row(0, factor);
    else
      std::fill_n(factor, n_pairs, 1.0f);
  }

  void set_position(std::int64_t position, const RopeAttr& attr) const {
    for (std::int64_t i = 0; i < n_pairs; ++i) {
      const double exponent = -2.0 * static_cast<double>(i) / attr.rotary_dim;
      const double speed = std::pow(static_cast<double>(attr.theta), exponent) / factor[i];
      const double angle = static_cast<double>(position) * speed;
      cosine[i] = static_cast<float>(std::cos(angle));
      sine[i] = static_cast<float>(std::sin(angle));
    }
  }

  void apply(float* head, RopeStyle style) const {
    const bool half = style == RopeStyle::half;
    for (std::int64_t i = 0; i < n_pairs; ++i) {
      float& first = head[half ? i : 2 * i];
      float& second = head[half ? i + n_pairs : 2 * i + 1];
      const float a = first, b = second;
      first = a * cosine[i] - b * sine[i];
      second = b * cosine[i] + a * sine[i];
    }
  }
};

}  // namespace

std::int64_t rope_scratch(const Graph&, const Node& node) {
  const RopeAttr* attr = std::get_if<RopeAttr>(&node.attr);
  return attr ? attr->rotary_dim / 2 * 3 + attr->head_dim : 0;
}

Status rope(const Step& step, const StepContext& context) {
  const Operand &x = step.in[0], &out = step.out[0];
  const auto& attr = step.attr_as<RopeAttr>();
  const Rotation rotation(context.scratch, attr, step.in[1]);
  for (std::int64_t t = 0; t < context.params.n_tokens; ++t) {
    rotation.set_position(context.params.pos + t, attr);
    std::copy_n(x.row(t), x.cols(), out.row(t));
    for (std::int64_t c = 0; c < x.cols(); c += attr.head_dim)
      rotation.apply(out.row(t) + c, attr.style);
  }
  return {};
}

Status rms_norm_rope(const Step& step, const StepContext& context) {
  const Operand &x = step.in[0], &weight = step.in[1], &out = step.out[0];
  const auto& attr = step.attr_as<RopeAttr>();
  float* weight_row = context.scratch;
  weight.decode_row(0, weight_row);
  const Rotation rotation(context.scratch + attr.head_dim, attr, step.in[2]);
  for (std::int64_t t = 0; t < context.params.n_tokens; ++t) {
    rotation.set_position(context.params.pos + t, attr);
    rms_norm_row(out.row(t), x.row(t), weight_row, x.cols(), attr.head_dim, attr.eps);
    for (std::int64_t c = 0; c < x.cols(); c += attr.head_dim)
      rotation.apply(out.row(t) + c, attr.style);
  }
  return {};
}

}  // namespace runnel::reference::kernels
