// Known answers of nodes that a step of one token runs as one dispatch. Each has a product behind
// it, so that a result that was made ready is tested too.
#include <cmath>

#include "backends/vulkan/known_answer.h"
#include "backends/vulkan/known_numbers.h"
#include "quant/half.h"

namespace runnel::vulkan {
namespace {

constexpr std::int64_t kChannels = 256, kResults = 37, kColumns = 3, kConvPos = 5, kPlace = 99;

/// Adds values and what lies in them.
class Maker {
 public:
  Maker() { answer.params.n_tokens = 1; }

  ValueId row(const std::vector<float>& x) {
    Value value;
    value.name = "x" + std::to_string(answer.inputs.size());
    value.shape = {1, static_cast<std::int64_t>(x.size())};
    value.role = Role::input;
    value.per_token = true;
    answer.inputs.push_back(bytes_of(x));
    return answer.graph.add_value(value);
  }
  ValueId weight(const std::vector<float>& x, Shape shape) {
    answer.inputs.push_back(bytes_of(x));
    return answer.graph.add_weight("w" + std::to_string(answer.inputs.size()), shape, DType::f32);
  }
  ValueId matrix(DType type, std::int64_t rows, std::int64_t cols, std::vector<float>& decoded) {
    answer.inputs.push_back(encode_weight(type, rows, cols, numbers, decoded));
    return answer.graph.add_weight("w" + std::to_string(answer.inputs.size()), Shape{rows, cols},
                                   type);
  }
  /// The product behind the fused nodes.
  Status last(DType type, ValueId x, const std::vector<double>& values) {
    std::vector<float> w;
    const ValueId id = matrix(type, kResults, static_cast<std::int64_t>(values.size()), w);
    RUNNEL_TRY(answer.graph.add_node(Op::matmul, {x, id}, {}, "last").status());
    for (const double y : multiply(values, w)) answer.expected.push_back(static_cast<float>(y));
    return {};
  }

  KnownAnswer answer;
  Numbers numbers;
};

Result<KnownAnswer> convolution(const Graph& graph, const Node& product, const Node& conv) {
  const DType type = graph.value(product.in[1]).dtype;
  const auto* attr = std::get_if<ShortConvAttr>(&conv.attr);
  if (attr == nullptr || attr->kernel > kColumns + 1)
    return Status(Code::unsupported, "a long convolution");
  const std::int64_t taps = attr->kernel;
  Maker make;
  make.answer.params.pos = kConvPos;
  const std::vector<float> x = make.numbers.take(kChannels);
  const std::vector<float> filter = make.numbers.take(kChannels * taps);
  const std::vector<float> ring = make.numbers.take(kChannels * kColumns);
  const ValueId row = make.row(x);
  std::vector<float> w;
  const ValueId matrix = make.matrix(type, 3 * kChannels, kChannels, w);
  const ValueId filter_id = make.weight(filter, Shape{kChannels, taps});
  const ValueId state =
      make.answer.graph.add_state("conv", Shape{kColumns, kChannels}, DType::f32, StateKind::conv);
  make.answer.inputs.insert(make.answer.inputs.end(), 2, bytes_of(ring));
  RUNNEL_ASSIGN(const ValueId bcx, make.answer.graph.add_node(Op::matmul, {row, matrix}, {}, "in"));
  RUNNEL_ASSIGN(const ValueId y,
                make.answer.graph.add_node(Op::short_conv, {bcx, filter_id, state}, *attr, "conv"));
  const std::vector<double> made = multiply({x.begin(), x.end()}, w);
  std::vector<double> out;
  for (std::int64_t c = 0; c < kChannels; ++c) {
    const auto at = [&](std::int64_t part) {
      return made[static_cast<std::size_t>(part * kChannels + c)];
    };
    double sum = 0;
    for (std::int64_t k = 0; k < taps; ++k) {
      const std::int64_t pos = kConvPos - (taps - 1) + k;
      const double v =
          pos == kConvPos
              ? at(0) * at(2)
              : static_cast<double>(ring[static_cast<std::size_t>(pos % kColumns * kChannels + c)]);
      sum += static_cast<double>(filter[static_cast<std::size_t>(c * taps + k)]) * v;
    }
    out.push_back(at(1) * sum);
  }
  RUNNEL_TRY(make.last(type, y, out));
  return std::move(make.answer);
}

/// One head as rope or rms_norm_rope leave it. SOURCE: Su et al., RoFormer, equation 34.
void turn(const RopeAttr& attr, const std::vector<float>* norm, float* x) {
  const auto dim = static_cast<std::size_t>(attr.head_dim);
  std::vector<double> v(x, x + dim);
  if (norm != nullptr) {
    double squares = 0;
    for (const double e : v) squares += e * e;
    const double scale =
        1 / std::sqrt(squares / static_cast<double>(dim) + static_cast<double>(attr.eps));
    for (std::size_t i = 0; i < dim; ++i) v[i] *= scale * static_cast<double>((*norm)[i]);
  }
  const auto pairs = static_cast<std::size_t>(attr.rotary_dim / 2);
  for (std::size_t i = 0; i < pairs; ++i) {
    const bool neighbours = attr.style == RopeStyle::interleaved;
    double &a = v[neighbours ? 2 * i : i], &b = v[neighbours ? 2 * i + 1 : i + pairs];
    const double angle =
        static_cast<double>(kPlace) *
        std::pow(static_cast<double>(attr.theta), -2.0 * static_cast<double>(i) / attr.rotary_dim);
    const double c = std::cos(angle), s = std::sin(angle), before = a;
    a = before * c - b * s;
    b = b * c + before * s;
  }
  for (std::size_t i = 0; i < dim; ++i) x[i] = static_cast<float>(v[i]);
}

Result<KnownAnswer> attention(const Graph& graph, std::span<const Node> nodes) {
  const auto* attr = std::get_if<AttentionAttr>(&nodes[3].attr);
  const auto* rope = std::get_if<RopeAttr>(&nodes[0].attr);
  if (attr == nullptr || rope == nullptr)
    return Status(Code::unsupported, "attention without attributes");
  const std::int64_t dim = attr->head_dim, heads = attr->n_heads, kv_heads = attr->n_kv_heads;
  const bool normed = nodes[0].op == Op::rms_norm_rope;
  Maker make;
  make.answer.params.pos = kPlace;
  std::vector<float> rows[3];  // q, k, v
  ValueId ids[3];
  for (std::size_t i = 0; i < 3; ++i) {
    rows[i] = make.numbers.take((i == 0 ? heads : kv_heads) * dim);
    ids[i] = make.row(rows[i]);
  }
  for (std::size_t i = 0; i < 2; ++i) {
    std::vector<float> norm;
    std::vector<ValueId> in{ids[i]};
    if (normed) {
      norm = make.numbers.take(dim);
      in.push_back(make.weight(norm, Shape{dim}));
    }
    RUNNEL_ASSIGN(ids[i], make.answer.graph.add_node(nodes[0].op, in, *rope, "rope"));
    for (std::size_t at = 0; at < rows[i].size(); at += static_cast<std::size_t>(dim))
      turn(*rope, normed ? &norm : nullptr, rows[i].data() + at);
  }
  ValueId states[2];
  std::vector<float> decoded[2][2];
  for (std::size_t half = 0; half < 2; ++half) {
    const Value& state = graph.value(nodes[3].in[1 + half]);
    states[half] =
        make.answer.graph.add_state(half == 0 ? "k" : "v", state.shape, state.dtype, state.state);
    for (auto& one : decoded[half]) make.answer.inputs.push_back(page_of(state, make.numbers, one));
    for (std::int64_t h = 0; h < kv_heads; ++h)  // the token's own
      for (std::int64_t d = 0; d < dim; ++d)
        decoded[half][kPlace / kPageTokens]
               [static_cast<std::size_t>((h * kPageTokens + kPlace % kPageTokens) * dim + d)] =
                   quant::f16_to_f32(
                       quant::f32_to_f16(rows[1 + half][static_cast<std::size_t>(h * dim + d)]));
  }
  RUNNEL_TRY(make.answer.graph
                 .add_node(Op::kv_append, {ids[1], ids[2], states[0], states[1]}, {}, "append")
                 .status());
  RUNNEL_ASSIGN(const ValueId y,
                make.answer.graph.add_node(Op::attention, {ids[0], states[0], states[1]}, *attr,
                                           "attention"));
  std::vector<float> out;
  for (std::int64_t h = 0; h < heads; ++h)
    attend(*attr, rows[0].data() + h * dim, decoded[0], decoded[1], h / (heads / kv_heads), kPlace,
           out);
  RUNNEL_TRY(make.last(DType::q8_0, y, {out.begin(), out.end()}));
  return std::move(make.answer);
}

}  // namespace

Result<KnownAnswer> fused_answer(const Graph& graph, std::span<const Node> nodes) {
  if (nodes.size() == 2) return convolution(graph, nodes[0], nodes[1]);
  if (nodes.size() == 4) return attention(graph, nodes);
  return Status(Code::unsupported, "no known answer for these ops");
}

}  // namespace runnel::vulkan
