#include "backends/vulkan/known_answer.h"

#include <algorithm>
#include <cmath>

#include "backends/vulkan/known_numbers.h"

namespace runnel::vulkan {
namespace {

constexpr std::int64_t kCols = 768, kRows = 37, kKeys = 100;

Result<KnownAnswer> product(const Graph& graph, const Node& node) {
  const bool pair = node.op == Op::matmul_swiglu;
  const bool per_token = graph.value(node.in[0]).per_token;
  const std::int64_t n_tokens = std::min<std::int64_t>(graph.max_tokens(), 70);
  const DType type = graph.value(node.in[1]).dtype;
  KnownAnswer answer;
  answer.graph = Graph(n_tokens);
  answer.params.n_tokens = static_cast<std::int32_t>(n_tokens);
  const std::int64_t rows = per_token ? n_tokens : 1;
  Value x;
  x.name = "x";
  x.shape = {rows, kCols};
  x.role = Role::input;
  x.per_token = per_token;
  std::vector<ValueId> in{answer.graph.add_value(x)};
  Numbers numbers;
  const std::vector<float> row = numbers.take(rows * kCols);
  answer.inputs.push_back(bytes_of(row));
  std::vector<std::vector<float>> weights(pair ? 2 : 1);
  for (auto& decoded : weights) {
    in.push_back(answer.graph.add_weight("w" + std::to_string(in.size()), {kRows, kCols}, type));
    answer.inputs.push_back(encode_weight(type, kRows, kCols, numbers, decoded));
  }
  RUNNEL_TRY(answer.graph.add_node(node.op, in, {}, "known").status());
  for (std::int64_t t = 0; t < rows; ++t)
    for (std::int64_t n = 0; n < kRows; ++n) {
      double sum[2] = {0, 0};
      for (std::size_t m = 0; m < weights.size(); ++m)
        for (std::int64_t k = 0; k < kCols; ++k)
          sum[m] += static_cast<double>(row[static_cast<std::size_t>(t * kCols + k)]) *
                    weights[m][static_cast<std::size_t>(n * kCols + k)];
      const double result = pair ? sum[0] / (1 + std::exp(-sum[0])) * sum[1] : sum[0];
      answer.expected.push_back(static_cast<float>(result));
    }
  return answer;
}

/// In `inputs`, the two pages of a state follow each other.
Result<KnownAnswer> attention(const Graph& graph, const Node& node) {
  const AttentionAttr* attr = std::get_if<AttentionAttr>(&node.attr);
  if (attr == nullptr) return Status(Code::unsupported, "attention without attributes");
  KnownAnswer answer;
  const std::int64_t n_tokens = std::min<std::int64_t>(graph.max_tokens(), 12);
  // More than eight tokens take another way through the kernel.
  answer.graph = Graph(n_tokens);
  answer.params.n_tokens = static_cast<std::int32_t>(n_tokens);
  answer.params.pos = static_cast<std::int32_t>(kKeys - n_tokens);
  Numbers numbers;
  Value q;
  q.name = "q";
  q.shape = {n_tokens, std::int64_t{attr->n_heads} * attr->head_dim};
  q.role = Role::input;
  q.per_token = true;
  std::vector<ValueId> in{answer.graph.add_value(q)};
  const std::vector<float> queries = numbers.take(q.shape.elems());
  answer.inputs.push_back(bytes_of(queries));
  std::vector<float> decoded[2][2];
  for (std::size_t half = 0; half < 2; ++half) {
    const Value& state = graph.value(node.in[1 + half]);
    in.push_back(
        answer.graph.add_state(half == 0 ? "k" : "v", state.shape, state.dtype, state.state));
    for (auto& one : decoded[half]) answer.inputs.push_back(page_of(state, numbers, one));
  }
  RUNNEL_TRY(answer.graph.add_node(node.op, in, node.attr, "known").status());
  const std::int64_t group = attr->n_heads / attr->n_kv_heads;
  for (std::int64_t t = 0; t < n_tokens; ++t)
    for (std::int64_t h = 0; h < attr->n_heads; ++h)
      attend(*attr, queries.data() + (t * attr->n_heads + h) * attr->head_dim, decoded[0],
             decoded[1], h / group, answer.params.pos + t, answer.expected);
  return answer;
}

}  // namespace

bool has_known_answer(Op op) {
  return op == Op::matmul || op == Op::matmul_swiglu || op == Op::attention;
}

Result<KnownAnswer> known_answer(const Graph& graph, const Node& node) {
  if (node.op == Op::attention) return attention(graph, node);
  if (has_known_answer(node.op)) return product(graph, node);
  return Status(Code::unsupported, "no known answer for this op");
}

Status compare_answer(const KnownAnswer& answer, std::span<const float> got) {
  constexpr double kLargest = 0.03;  // products in f16 stay below a tenth of it
  double squares = 0, worst = 0;
  for (std::size_t i = 0; i < answer.expected.size(); ++i) {
    squares += static_cast<double>(answer.expected[i]) * answer.expected[i];
    const double error = std::abs(static_cast<double>(got[i]) - answer.expected[i]);
    worst = std::isnan(error) ? HUGE_VAL : std::max(worst, error);
  }
  const double size = std::sqrt(squares / static_cast<double>(answer.expected.size()));
  if (worst <= kLargest * size) return {};
  return {Code::internal, "error " + std::to_string(worst) + " beside " + std::to_string(size)};
}

}  // namespace runnel::vulkan
