#include "backends/vulkan/known_answer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/codecs.h"
#include "quant/half.h"

namespace runnel::vulkan {
namespace {

constexpr std::int64_t kCols = 768, kRows = 37, kKeys = 100;

/// Numbers in (-1, 1) that repeat exactly. SOURCE: Marsaglia, Xorshift RNGs, 2003.
class Numbers {
 public:
  float next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 17;
    state_ ^= state_ << 5;
    return static_cast<float>(static_cast<std::int32_t>(state_)) * 0x1p-31f;
  }
  std::vector<float> take(std::int64_t n) {
    std::vector<float> x(static_cast<std::size_t>(n));
    for (float& v : x) v = next();
    return x;
  }

 private:
  std::uint32_t state_ = 0x52756E6Eu;
};

std::vector<std::byte> bytes_of(const std::vector<float>& x) {
  const auto bytes = std::as_bytes(std::span(x));
  return {bytes.begin(), bytes.end()};
}

/// A weight [rows, kCols] as in a file, and what it decodes to.
std::vector<std::byte> encode(DType type, Numbers& numbers, std::vector<float>& decoded) {
  const std::size_t row = quant::row_bytes(type, kCols);
  std::vector<std::byte> bytes(row * kRows);
  decoded.resize(kRows * kCols);
  const quant::Codec& codec = quant::codec(type);
  for (std::int64_t r = 0; r < kRows; ++r) {
    std::byte* at = bytes.data() + static_cast<std::size_t>(r) * row;
    const std::vector<float> x = numbers.take(kCols);
    if (codec.encode_row != nullptr)
      codec.encode_row(x.data(), nullptr, at, kCols);
    else  // finite for every format that is only read: small scales, any codes
      for (std::size_t i = 0; i < row; ++i) at[i] = static_cast<std::byte>((i * 7 + 3) % 96);
    codec.decode_row(at, decoded.data() + r * kCols, kCols);
  }
  return bytes;
}

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
    answer.inputs.push_back(encode(type, numbers, decoded));
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

/// A page of rows, and what they decode to: x [kv_heads, 64, dh].
std::vector<std::byte> page(const Value& state, Numbers& numbers, std::vector<float>& decoded) {
  decoded = numbers.take(state.shape.elems());
  if (state.dtype == DType::f32) return bytes_of(decoded);
  std::vector<std::byte> bytes(decoded.size() * 2);
  for (std::size_t i = 0; i < decoded.size(); ++i) {
    const std::uint16_t half = quant::f32_to_f16(decoded[i]);
    std::memcpy(bytes.data() + 2 * i, &half, sizeof(half));
    decoded[i] = quant::f16_to_f32(half);
  }
  return bytes;
}

/// softmax(scale * q k^T) v of one head at `place`; k and v: [64, dh] of two pages each.
void attend(const AttentionAttr& attr,
            const float* q,
            const std::vector<float>* k,
            const std::vector<float>* v,
            std::int64_t kv_head,
            std::int64_t place,
            std::vector<float>& out) {
  const std::int64_t dh = attr.head_dim;
  const std::int64_t first =
      attr.window > 0 ? std::max<std::int64_t>(0, place + 1 - attr.window) : 0;
  std::vector<double> total(static_cast<std::size_t>(dh), 0.0);
  double sum = 0;
  for (std::int64_t key = first; key <= place; ++key) {
    const auto at = static_cast<std::size_t>((kv_head * kPageTokens + key % kPageTokens) * dh);
    const auto of = static_cast<std::size_t>(key / kPageTokens);
    double score = 0;
    for (std::int64_t d = 0; d < dh; ++d)
      score += static_cast<double>(q[d]) * k[of][at + static_cast<std::size_t>(d)];
    const double weight = std::exp(score * static_cast<double>(attr.scale));
    sum += weight;
    for (std::size_t d = 0; d < total.size(); ++d)
      total[d] += weight * static_cast<double>(v[of][at + d]);
  }
  for (const double x : total) out.push_back(static_cast<float>(x / sum));
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
    for (auto& one : decoded[half]) answer.inputs.push_back(page(state, numbers, one));
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
