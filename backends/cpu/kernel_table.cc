#include "backends/cpu/kernel_table.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "backends/cpu/gemm_choice.h"
#include "backends/cpu/onednn.h"
#include "backends/cpu/steps/product.h"
#include "backends/cpu/steps/steps.h"

namespace runnel::cpu {
namespace {

// ---- kernel names, joined at compile time: "matmul.q4_0" + "." + "avx512vnni" ----

template <std::size_t n>
struct Text {
  char chars[n];
  constexpr Text(const char (&literal)[n]) { std::copy_n(literal, n, chars); }  // NOLINT: implicit
};

template <Text prefix, std::size_t level>
struct JoinedName {
  static constexpr std::size_t kPrefix = sizeof(prefix.chars) - 1;
  static constexpr std::string_view kSuffix = kIsaLevels[level].suffix;
  static constexpr auto kChars = [] {
    std::array<char, kPrefix + 1 + kSuffix.size()> chars{};
    auto* end = std::copy_n(prefix.chars, kPrefix, chars.begin());
    *end++ = '.';
    std::copy(kSuffix.begin(), kSuffix.end(), end);
    return chars;
  }();
};

template <Text prefix, std::size_t level>
constexpr std::string_view kName{JoinedName<prefix, level>::kChars.data(),
                                 JoinedName<prefix, level>::kChars.size()};

// ---- conditions ----

/// Small vectors (biases, filters, frequency factors) are read as f32.
template <std::size_t... inputs>
bool f32_inputs(const Graph& graph, const Node& node) {
  return ((inputs >= node.in.size() || graph.value(node.in[inputs]).dtype == DType::f32) && ...);
}

template <DType type>
bool weights_are(const Graph& graph, const Node& node) {
  const bool gate_and_up = node.op != Op::matmul_swiglu || graph.value(node.in[2]).dtype == type;
  return graph.value(node.in[1]).dtype == type && gate_and_up;
}

bool same_weights(const Graph& graph, const Node& node) {
  return node.op != Op::matmul_swiglu ||
         graph.value(node.in[1]).dtype == graph.value(node.in[2]).dtype;
}

bool bias_is_f32(const Graph& graph, const Node& node) {
  return node.op != Op::matmul || f32_inputs<2>(graph, node);
}

using Condition = bool (*)(const Graph& graph, const Node& node);

template <std::size_t level, Condition... conditions>
bool matches(const Graph& graph, const Node& node, const Caps& caps) {
  return caps.isa >= kIsaLevels[level].isa && (conditions(graph, node) && ...);
}

// avx512bf16 has rows for bf16 weights only; the others are avx512's.
constexpr Isa level_of_floats(Isa isa) {
  return isa == Isa::avx512bf16 ? Isa::avx512 : isa;
}

// Steps with few tokens are left to the level's own kernels, hence its level. So are products with
// few outputs: they cost nothing, and a router must choose the same experts whatever the chunking.
template <DType type>
bool may_use_library(const Graph& graph, const Node& node) {
  return weights_are<type>(graph, node) && bias_is_f32(graph, node) &&
         graph.value(node.in[0]).shape[0] >= kGemmTokens &&
         graph.value(node.in[1]).shape[0] >= kGemmRows;
}

// Both are measured at first use, then the same for all models and float types of the process.
template <std::size_t level>
bool library_won(const Log& log) {
  static const bool kWins = library_wins(*kernels_for(kIsaLevels[level]), log);
  return kWins;
}

template <std::size_t level, DType type>
bool library_matches(const Graph& graph, const Node& node, const Caps& caps) {
  if (caps.onednn == OneDnn::never || level_of_floats(caps.isa) != kIsaLevels[level].isa ||
      !may_use_library<type>(graph, node))
    return false;
  return caps.onednn != OneDnn::measured || library_won<level>(*caps.log);
}

template <std::size_t level>
bool library_bf16_matches(const Graph& graph, const Node& node, const Caps& caps) {
  if (caps.onednn == OneDnn::never || caps.onednn == OneDnn::f32 ||
      caps.isa != kIsaLevels[level].isa || !may_use_library<DType::bf16>(graph, node))
    return false;
  if (caps.onednn == OneDnn::bf16) return true;
  static const bool kWins = library_wins_in_bf16(*kernels_for(kIsaLevels[level]), *caps.log);
  return kWins;
}

// Whoever asks for oneDNN in f32 wants activations as they are.
template <std::size_t level>
bool bf16_dots_match(const Graph& graph, const Node& node, const Caps& caps) {
  return caps.onednn != OneDnn::f32 && caps.isa >= kIsaLevels[level].isa &&
         weights_are<DType::bf16>(graph, node) && bias_is_f32(graph, node);
}

// ---- from a node to a Step ----

template <std::size_t level, Kernel kernel>
Result<Step> prepare(const Graph& graph, const Node& node, std::span<const BufferView> bindings) {
  Step step;
  step.run = kernel;
  step.kernels = kernels_for(kIsaLevels[level]);
  step.attr = node.attr;
  for (std::size_t i = 0; i < node.in.size(); ++i) {
    RUNNEL_ASSIGN(step.in[i], bind_host(graph, node.in[i], bindings, WeightAlignment::word));
  }
  for (std::size_t i = 0; i < node.out.size(); ++i) {
    RUNNEL_ASSIGN(step.out[i], bind_host(graph, node.out[i], bindings, WeightAlignment::word));
  }
  const bool product =
      node.op == Op::matmul || node.op == Op::matmul_swiglu || node.op == Op::moe_matmul;
  if (product) {
    step.format = fast_format(step.in[1].dtype);
    step.product = product_for(step.in[1].dtype);
  }
  return step;
}

template <std::size_t level, Kernel kernel>
Result<Step> prepare_library(const Graph& graph,
                             const Node& node,
                             std::span<const BufferView> bindings) {
  RUNNEL_ASSIGN(Step step, (prepare<level, kernel>(graph, node, bindings)));
  step.product = Product::library;
  return step;
}

template <std::size_t level, Kernel kernel, Product product>
Result<Step> prepare_bf16(const Graph& graph,
                          const Node& node,
                          std::span<const BufferView> bindings) {
  RUNNEL_ASSIGN(Step step, (prepare<level, kernel>(graph, node, bindings)));
  step.format = Fast::bf16_dots;
  step.product = product;
  return step;
}

// ---- rows ----

using ScratchOf = Scratch (*)(const Graph& graph, const Node& node);

template <std::size_t level, Text name, Kernel kernel, Condition... conditions>
constexpr Row row(Op op, ScratchOf scratch = steps::no_scratch) {
  return {{op, kName<name, level>, matches<level, conditions...>, prepare<level, kernel>}, scratch};
}

// A product with weights that have their own dot kernel.
template <std::size_t level, DType type, Text matmul, Text swiglu, Text moe>
constexpr std::array<Row, 3> products() {
  return {row<level, matmul, steps::matmul, weights_are<type>, bias_is_f32>(Op::matmul,
                                                                            steps::matmul_scratch),
          row<level, swiglu, steps::matmul_swiglu, weights_are<type>>(Op::matmul_swiglu,
                                                                      steps::matmul_swiglu_scratch),
          row<level, moe, steps::moe_matmul, weights_are<type>>(Op::moe_matmul,
                                                                steps::moe_matmul_scratch)};
}

// Float weights by oneDNN when a step may have many tokens.
template <std::size_t level, DType type, Text matmul, Text swiglu>
constexpr std::array<Row, 2> library_products() {
  return {Row{{Op::matmul, kName<matmul, level>, library_matches<level, type>,
               prepare_library<level, steps::matmul>},
              steps::library_scratch},
          Row{{Op::matmul_swiglu, kName<swiglu, level>, library_matches<level, type>,
               prepare_library<level, steps::matmul_swiglu>},
              steps::library_scratch}};
}

// A product of bf16 weights with activations rounded to bf16.
template <std::size_t level, Text name, Kernel kernel, Product product>
constexpr Row bf16_row(Op op, ScratchOf scratch) {
  const auto matches =
      product == Product::direct ? bf16_dots_match<level> : library_bf16_matches<level>;
  return {{op, kName<name, level>, matches, prepare_bf16<level, kernel, product>}, scratch};
}

template <std::size_t... sizes>
constexpr auto joined(const std::array<Row, sizes>&... parts) {
  std::array<Row, (sizes + ...)> all{};
  auto* end = all.data();
  ((end = std::copy(parts.begin(), parts.end(), end)), ...);
  return all;
}

// clang-format off: one row per op or format, aligned
template <std::size_t l>
constexpr auto whole_level() {
  using namespace steps;  // NOLINT: the kernels' names
  return joined(
      library_products<l, DType::bf16, "matmul.bf16.onednn", "matmul_swiglu.bf16.onednn">(),
      library_products<l, DType::f16, "matmul.f16.onednn", "matmul_swiglu.f16.onednn">(),
      library_products<l, DType::f32, "matmul.f32.onednn", "matmul_swiglu.f32.onednn">(),
      products<l, DType::q8_0, "matmul.q8_0", "matmul_swiglu.q8_0", "moe_matmul.q8_0">(),
      products<l, DType::q4_0, "matmul.q4_0", "matmul_swiglu.q4_0", "moe_matmul.q4_0">(),
      products<l, DType::q4_1, "matmul.q4_1", "matmul_swiglu.q4_1", "moe_matmul.q4_1">(),
      products<l, DType::q5_0, "matmul.q5_0", "matmul_swiglu.q5_0", "moe_matmul.q5_0">(),
      products<l, DType::q5_1, "matmul.q5_1", "matmul_swiglu.q5_1", "moe_matmul.q5_1">(),
      products<l, DType::iq4_nl, "matmul.iq4_nl", "matmul_swiglu.iq4_nl", "moe_matmul.iq4_nl">(),
      products<l, DType::q2_k, "matmul.q2_k", "matmul_swiglu.q2_k", "moe_matmul.q2_k">(),
      products<l, DType::q3_k, "matmul.q3_k", "matmul_swiglu.q3_k", "moe_matmul.q3_k">(),
      products<l, DType::q4_k, "matmul.q4_k", "matmul_swiglu.q4_k", "moe_matmul.q4_k">(),
      products<l, DType::q5_k, "matmul.q5_k", "matmul_swiglu.q5_k", "moe_matmul.q5_k">(),
      products<l, DType::q6_k, "matmul.q6_k", "matmul_swiglu.q6_k", "moe_matmul.q6_k">(),
      products<l, DType::iq4_xs, "matmul.iq4_xs", "matmul_swiglu.iq4_xs", "moe_matmul.iq4_xs">(),
      products<l, DType::bf16, "matmul.bf16", "matmul_swiglu.bf16", "moe_matmul.bf16">(),
      products<l, DType::f16, "matmul.f16", "matmul_swiglu.f16", "moe_matmul.f16">(),
      products<l, DType::f32, "matmul.f32", "matmul_swiglu.f32", "moe_matmul.f32">(),
      std::to_array<Row>({
          // Any other format: rows decoded to f32, then the f32 dot kernel.
          row<l, "matmul.decoded", matmul, bias_is_f32>(Op::matmul, matmul_scratch),
          row<l, "matmul_swiglu.decoded", matmul_swiglu, same_weights>(Op::matmul_swiglu,
                                                                       matmul_swiglu_scratch),
          row<l, "moe_matmul.decoded", moe_matmul>(Op::moe_matmul, moe_matmul_scratch),
          row<l, "embed", embed>(Op::embed),
          row<l, "rms_norm", rms_norm>(Op::rms_norm, norm_scratch),
          row<l, "add", add>(Op::add),
          row<l, "swiglu", swiglu>(Op::swiglu),
          row<l, "rope", rope, f32_inputs<1>>(Op::rope, rope_scratch),
          row<l, "kv_append", kv_append>(Op::kv_append),
          row<l, "attention", attention>(Op::attention, attention_scratch),
          row<l, "rotate", rotate, f32_inputs<1>>(Op::rotate),
          row<l, "kv_seal", kv_seal>(Op::kv_seal),
          row<l, "kv_summary", kv_summary>(Op::kv_summary),
          row<l, "tile_attention", tile_attention>(Op::tile_attention, tile_attention_scratch),
          row<l, "kv_window", kv_window>(Op::kv_window),
          row<l, "short_conv", short_conv, f32_inputs<1, 3>>(Op::short_conv),
          row<l, "moe_route", moe_route, f32_inputs<1>>(Op::moe_route, moe_route_scratch),
          row<l, "moe_sum", moe_sum>(Op::moe_sum),
          row<l, "last_row", last_row>(Op::last_row),
          row<l, "argmax", argmax>(Op::argmax),
          row<l, "add_rms_norm", add_rms_norm>(Op::add_rms_norm, norm_scratch),
          row<l, "rms_norm_rope", rms_norm_rope, f32_inputs<2>>(Op::rms_norm_rope, rope_scratch),
      }));
}
// clang-format on

template <std::size_t l>
constexpr auto bf16_rows() {
  using namespace steps;  // NOLINT: the kernels' names
  constexpr Product kLibrary = Product::library_bf16, kDirect = Product::direct;
  return std::to_array<Row>({
      bf16_row<l, "matmul.bf16.onednn", matmul, kLibrary>(Op::matmul, matmul_bf16_scratch),
      bf16_row<l, "matmul_swiglu.bf16.onednn", matmul_swiglu, kLibrary>(Op::matmul_swiglu,
                                                                        matmul_swiglu_bf16_scratch),
      bf16_row<l, "matmul.bf16", matmul, kDirect>(Op::matmul, matmul_bf16_scratch),
      bf16_row<l, "matmul_swiglu.bf16", matmul_swiglu, kDirect>(Op::matmul_swiglu,
                                                                matmul_swiglu_bf16_scratch),
      bf16_row<l, "moe_matmul.bf16", moe_matmul, kDirect>(Op::moe_matmul, moe_matmul_bf16_scratch),
  });
}

template <std::size_t l>
constexpr auto level_rows() {
  if constexpr (kIsaLevels[l].isa == Isa::avx512bf16)
    return bf16_rows<l>();
  else
    return whole_level<l>();
}

// Best level first.
template <std::size_t... i>
constexpr auto all_rows(std::index_sequence<i...>) {
  return joined(level_rows<sizeof...(i) - 1 - i>()...);
}
constexpr auto kRows = all_rows(std::make_index_sequence<std::size(kIsaLevels)>{});

}  // namespace

std::span<const Row> kernel_table() {
  return kRows;
}

}  // namespace runnel::cpu
