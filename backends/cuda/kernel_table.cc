#include "backends/cuda/kernel_table.h"

#include <array>
#include <cmath>
#include <string>

#include "backends/cuda/kernels/kernels.h"
#include "backends/cuda/memory.h"
#include "runtime/base/checked.h"

namespace runnel::cuda {
namespace {

// ---- conditions ----

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

constexpr std::int64_t kMostHeadDim = 256;
constexpr std::int64_t kFewRows = 8;        // of x: the weights are read once for four of them
constexpr std::int64_t kGemmColumns = 256;  // fewer results (a router's) come from matvec always

/// Matrices used as they are (filters) are plain f32; vectors always are, on the device.
template <std::size_t input>
bool is_f32(const Graph& graph, const Node& node) {
  return graph.value(node.in[input]).dtype == DType::f32;
}

bool small_experts(const Graph& graph, const Node& node) {
  return graph.value(node.in[0]).shape.cols() <= 2048;
}

bool heads_fit(const Graph& graph, const Node& node) {
  (void)graph;
  return std::get<AttentionAttr>(node.attr).head_dim <= kMostHeadDim;
}

bool rope_fits(const Graph& graph, const Node& node) {
  (void)graph;
  return std::get<RopeAttr>(node.attr).rotary_dim <= 4096;
}

/// x of one row fits shared memory, and both products of a swiglu have weights of one type.
bool matvec_fits(const Graph& graph, const Node& node) {
  const Value& w = graph.value(node.in[1]);
  const bool packed = multiplies_bytes(w.dtype);
  if (node.op == Op::matmul_swiglu && graph.value(node.in[2]).dtype != w.dtype) return false;
  return w.shape.cols() <= (packed ? kMatvecBytes : kMatvecFloats) && w.dtype != DType::i32;
}

bool gemm_fits(const Graph& graph, const Node& node) {
  const Value &x = graph.value(node.in[0]), &w = graph.value(node.in[1]);
  if (node.op == Op::matmul_swiglu && graph.value(node.in[2]).dtype != w.dtype) return false;
  return x.shape[0] > kFewRows && w.shape[0] >= kGemmColumns && w.shape.cols() % kUnit == 0 &&
         w.dtype != DType::f32 && w.dtype != DType::i32;
}

/// Whether this build has code for Hopper's own instructions.
constexpr bool hopper_built() {
#ifdef RUNNEL_CUDA_90A
  return true;
#else
  return false;
#endif
}

/// Hopper's products write results four at a time.
bool hopper_fits(const Graph& graph, const Node& node) {
  return hopper_built() && gemm_fits(graph, node) && graph.value(node.in[1]).shape[0] % 4 == 0;
}

bool moe_hopper_fits(const Graph& graph, const Node& node) {
  const Value &w = graph.value(node.in[1]), &ids = graph.value(node.in[2]);
  return hopper_built() && ids.shape[0] > kFewRows && w.shape[0] <= kMostExperts &&
         w.shape[0] * w.shape[1] < (std::int64_t{1} << 31) && w.shape[1] % 4 == 0 &&
         w.shape.cols() % kUnit == 0 && w.dtype != DType::f32 && w.dtype != DType::i32;
}

/// Few tokens.
bool few_tokens(const Graph& graph, const Node& node) {
  const auto& attr = std::get<AttentionAttr>(node.attr);
  const std::int64_t rows = graph.value(node.in[0]).shape[0];
  const std::int64_t blocks = attr.n_kv_heads * ceil_div(attr.n_heads / attr.n_kv_heads, 4);
  return rows <= kFewRows && (attr.head_dim == 64 || attr.head_dim == 128) &&
         rows * blocks <= kCounters;
}
bool f16_pages(const Graph& graph, const Node& node) {
  return graph.value(node.in[1]).dtype == DType::f16;
}

/// Many tokens over f16 rows.
bool mma_attention_fits(const Graph& graph, const Node& node) {
  const auto& attr = std::get<AttentionAttr>(node.attr);
  return graph.value(node.in[1]).dtype == DType::f16 &&
         graph.value(node.in[0]).shape[0] > kFewRows &&
         (attr.head_dim == 64 || attr.head_dim == 128);
}

/// Many tokens over tiles, which are rounded to f16 with their scales.
bool mma_tiles_fit(const Graph& graph, const Node& node) {
  const auto& attr = std::get<AttentionAttr>(node.attr);
  return graph.value(node.in[0]).shape[0] > kFewRows &&
         (attr.head_dim == 64 || attr.head_dim == 128);
}

bool dense(const Graph&, const Node& node) {
  return dense_tiles(node);
}

using Condition = bool (*)(const Graph& graph, const Node& node);

/// Instructions that no later device has.
template <Condition... conditions>
bool matches_hopper(const Graph& graph, const Node& node, const Caps& caps) {
  return caps.sm == 90 && (conditions(graph, node) && ...);
}

template <int sm, Condition... conditions>
bool matches(const Graph& graph, const Node& node, const Caps& caps) {
  return caps.sm >= sm && (conditions(graph, node) && ...);
}

// ---- from a node to a Step ----

/// theta^(-2i / rotary_dim) of each pair.
std::vector<double> rope_speeds(const RopeAttr& attr) {
  std::vector<double> speeds;
  for (int i = 0; i < attr.rotary_dim / 2; ++i)
    speeds.push_back(std::pow(static_cast<double>(attr.theta), -2.0 * i / attr.rotary_dim));
  return speeds;
}

Product product_of(Op op, const Step& step) {
  Product product;
  product.x = step.in[0];
  product.w[0] = step.in[1];
  product.out[0] = step.out[0];
  product.n = 1;
  if (op == Op::matmul) product.bias[0] = step.in[2];
  if (op == Op::moe_matmul) product.expert_ids = step.in[2];
  if (op != Op::matmul_swiglu) return product;
  product.w[1] = step.in[2];
  product.n = 2;
  product.combine = Combine::swiglu;
  return product;
}

template <LaunchFn launch>
Result<Step> prepare(const Graph& graph, const Node& node, std::span<const BufferView> bindings) {
  Step step;
  step.launch = launch;
  step.attr = node.attr;
  for (std::size_t i = 0; i < node.in.size(); ++i) {
    RUNNEL_ASSIGN(step.in[i], bind(graph, node.in[i], bindings));
  }
  for (std::size_t i = 0; i < node.out.size(); ++i) {
    RUNNEL_ASSIGN(step.out[i], bind(graph, node.out[i], bindings));
  }
  if (const RopeAttr* rope = std::get_if<RopeAttr>(&node.attr)) step.constants = rope_speeds(*rope);
  if (node.op == Op::matmul || node.op == Op::matmul_swiglu || node.op == Op::moe_matmul)
    step.product = product_of(node.op, step);
  return step;
}

std::size_t no_scratch(const Graph&, const Node&) {
  return 0;
}

template <LaunchFn launch, int sm, Condition... conditions>
constexpr Row row(Op op, std::string_view name, decltype(Row::scratch_bytes) scratch = no_scratch) {
  return {{op, name, matches<sm, conditions...>, prepare<launch>}, scratch};
}

template <LaunchFn launch, Condition... conditions>
constexpr Row row(Op op, std::string_view name) {
  return row<launch, 0, conditions...>(op, name);
}

template <LaunchFn launch, Condition... conditions>
constexpr Row hopper_row(Op op, std::string_view name, decltype(Row::scratch_bytes) scratch) {
  return {{op, name, matches_hopper<conditions...>, prepare<launch>}, scratch};
}

// clang-format off: one row per kernel, aligned
constexpr std::array kRows = std::to_array<Row>({
    hopper_row<gemm_hopper, hopper_fits>(Op::matmul, "matmul.wgmma", gemm_hopper_scratch),
    hopper_row<gemm_hopper_swiglu, hopper_fits>(
        Op::matmul_swiglu, "matmul_swiglu.wgmma", gemm_hopper_scratch),
    row<gemm, 80, gemm_fits>(Op::matmul, "matmul.mma", gemm_scratch),
    row<gemm_swiglu, 80, gemm_fits>(Op::matmul_swiglu, "matmul_swiglu.mma", gemm_scratch),
    row<matvec, matvec_fits>(Op::matmul, "matmul.rows"),
    row<matvec, matvec_fits>(Op::matmul_swiglu, "matmul_swiglu.rows"),
    hopper_row<moe_hopper, moe_hopper_fits>(Op::moe_matmul, "moe_matmul.wgmma", moe_hopper_scratch),
    row<matvec, matvec_fits>(Op::moe_matmul, "moe_matmul.rows"),
    row<embed>(Op::embed, "embed"),
    row<rms_norm>(Op::rms_norm, "rms_norm"),
    row<add_rms_norm>(Op::add_rms_norm, "add_rms_norm"),
    row<add>(Op::add, "add"),
    row<swiglu>(Op::swiglu, "swiglu"),
    row<rope, rope_fits>(Op::rope, "rope"),
    row<rms_norm_rope, rope_fits>(Op::rms_norm_rope, "rms_norm_rope"),
    row<kv_append>(Op::kv_append, "kv_append"),
    row<attention_split, 0, few_tokens, f16_pages>(
        Op::attention, "attention.split", attention_scratch),
    row<attention_mma, 80, mma_attention_fits>(Op::attention, "attention.mma"),
    row<attention, heads_fit>(Op::attention, "attention.any"),
    row<rotate>(Op::rotate, "rotate"),
    row<kv_seal, dense>(Op::kv_seal, "kv_seal"),
    row<tile_attention_split, 0, few_tokens, dense>(
        Op::tile_attention, "tile_attention.split", attention_scratch),
    row<tile_attention_mma, 80, mma_tiles_fit, dense>(Op::tile_attention, "tile_attention.mma"),
    row<tile_attention, heads_fit, dense>(Op::tile_attention, "tile_attention.any"),
    row<kv_window>(Op::kv_window, "kv_window"),
    row<short_conv, is_f32<1>>(Op::short_conv, "short_conv"),
    row<moe_route, small_experts>(Op::moe_route, "moe_route"),
    row<moe_sum>(Op::moe_sum, "moe_sum"),
    row<last_row>(Op::last_row, "last_row"),
    row<argmax, 0>(Op::argmax, "argmax", argmax_scratch),
});
// clang-format on

}  // namespace

bool is_matvec(const Row& row) {
  return row.prepare == prepare<matvec>;
}

bool shares_x(const Row& row) {
  return row.prepare == prepare<gemm_hopper> || row.prepare == prepare<gemm_hopper_swiglu> ||
         row.prepare == prepare<moe_hopper>;
}

bool is_split_attention(const Row& row) {
  return row.prepare == prepare<attention_split>;
}

bool is_split_tile_attention(const Row& row) {
  return row.prepare == prepare<tile_attention_split>;
}

std::span<const Row> kernel_table() {
  return kRows;
}

Result<Operand> bind(const Graph& graph, ValueId id, std::span<const BufferView> bindings) {
  const Value& value = graph.value(id);
  Operand operand;
  operand.dtype = value.dtype;
  operand.shape = value.shape;
  operand.state_index = value.state_index;
  operand.kv = value.kv;
  if (value.per_token)
    operand.rows_per_token = static_cast<std::int32_t>(value.shape[0] / graph.max_tokens());
  if (value.role == Role::state) return operand;
  const auto index = static_cast<std::size_t>(id);
  if (index >= bindings.size() || bindings[index].buffer == nullptr ||
      bindings[index].buffer->host() != nullptr)
    return Status(Code::invalid_argument, value.name + " is not bound to device memory");
  const BufferView& view = bindings[index];
  std::size_t bytes = quant::row_bytes(value.dtype, static_cast<std::size_t>(value.shape.cols())) *
                      static_cast<std::size_t>(value.shape.rows());
  if (value.role == Role::weight && value.shape.rank == 1) {
    operand.dtype = DType::f32;
    bytes = static_cast<std::size_t>(value.shape.elems()) * sizeof(float);
  } else if (is_packed(value.dtype)) {
    bytes = static_cast<std::size_t>(plane_offsets(value.dtype, value.shape.elems()).total);
  }
  if (view.offset > view.buffer->size() || view.buffer->size() - view.offset < bytes)
    return Status(Code::invalid_argument, value.name + " is bound to too little memory");
  operand.data = address(view);
  return operand;
}

}  // namespace runnel::cuda
