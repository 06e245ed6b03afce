#include "runtime/graph/ops.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "runtime/graph/graph.h"

using namespace runnel;

namespace {

/// A graph of 8 tokens with values of every kind to build nodes from.
struct Parts {
  Graph graph{8};
  ValueId x = graph.add_input("x", {8, 64}, DType::f32);
  ValueId ids = graph.add_input("ids", {8}, DType::i32);
  ValueId chosen = graph.add_input("chosen", {8, 2}, DType::i32);
  ValueId norm = graph.add_weight("norm", {16}, DType::f32);
  ValueId w = graph.add_weight("w", {24, 64}, DType::q8_0);
  ValueId k = graph.add_state("k", {2, kPageTokens, 16}, DType::f16, StateKind::kv_k);
  ValueId v = graph.add_state("v", {2, kPageTokens, 16}, DType::f16, StateKind::kv_v);

  ValueId input(const Shape& shape) { return graph.add_input("y", shape, DType::f32); }
  ValueId weight(const Shape& shape, DType dtype = DType::f32) {
    return graph.add_weight("weight", shape, dtype);
  }
  ValueId ring(const Shape& shape) {
    return graph.add_state("ring", shape, DType::f32, StateKind::conv);
  }
  Status add(Op op, std::vector<ValueId> in, Attr attr = {}) {
    return graph.add_node(op, std::move(in), attr, "blk.7.node").status();
  }
  /// The node is refused, and the message names it, its op, its operands and the reason.
  void refuses(Op op, std::vector<ValueId> in, const Attr& attr, const std::string& reason) {
    const Status status = add(op, in, attr);
    CAPTURE(status.message());
    CHECK(status.code() == Code::invalid_argument);
    CHECK(status.message().starts_with("blk.7.node: " + std::string(schema(op).name)));
    CHECK(status.message().find(reason) != std::string::npos);
    for (ValueId id : in)
      CHECK(status.message().find(graph.value(id).shape.to_string()) != std::string::npos);
  }
};

const AttentionAttr kAttention{0.25f, 4, 2, 16, 0};
const RopeAttr kRope{1e6f, 16, 16, RopeStyle::half, 1e-5f};

}  // namespace

TEST_CASE("Ops.FusedOpsAndOnlyTheyDecompose") {
  for (int i = 0; i < static_cast<int>(Op::count); ++i) {
    const OpSchema& row = schema(static_cast<Op>(i));
    CAPTURE(row.name);
    CHECK(row.fused == (row.decompose != nullptr));
    CHECK(row.min_in <= row.max_in);
  }
}

TEST_CASE("Ops.RefusesBadMatrices") {
  Parts p;
  p.refuses(Op::embed, {p.w, p.chosen}, {}, "input 1 is no i32 array of 1 dimension(s)");
  p.refuses(Op::embed, {p.norm, p.ids}, {}, "input 0 has not 2 dimension(s)");
  p.refuses(Op::matmul, {p.x, p.weight({4, 63})}, {}, "x and W differ in K");
  p.refuses(Op::matmul, {p.x, p.weight({4, 64}, DType::q4_k)}, {}, "not whole blocks");
  p.refuses(Op::matmul, {p.x, p.weight({4, 64}, DType::i32)}, {}, "no weight format");
  p.refuses(Op::matmul, {p.ids, p.w}, {}, "input 0 is no matrix");
  p.refuses(Op::matmul, {p.chosen, p.weight({4, 2})}, {}, "input 0 is not f32");
  p.refuses(Op::matmul, {p.x, p.w, p.norm}, {}, "has not 24 values");
  p.refuses(Op::matmul, {p.x, p.weight({0, 64})}, {}, "zero, negative or too large");
  p.refuses(Op::matmul, {p.x, p.weight({-3, 64})}, {}, "zero, negative or too large");
  p.refuses(Op::matmul, {p.x, p.weight({std::int64_t{1} << 60, 64})}, {}, "too large");
  p.refuses(Op::matmul, {p.x, p.weight({std::int64_t{1} << 43, 64})}, {}, "too large");
  p.refuses(Op::matmul_swiglu, {p.x, p.w, p.weight({23, 64})}, {}, "gate and up differ");
}

TEST_CASE("Ops.RefusesBadRows") {
  Parts p;
  p.refuses(Op::add, {p.x, p.input({8, 63})}, {}, "input 0 and input 1 differ in shape");
  p.refuses(Op::swiglu, {p.x, p.input({16, 64})}, {}, "differ in shape");
  p.refuses(Op::rms_norm, {p.x, p.weight({15})}, RmsNormAttr{}, "not whole groups");
  p.refuses(Op::rms_norm, {p.x, p.norm}, {}, "attributes of another op");
  p.refuses(Op::add_rms_norm, {p.x, p.x, p.weight({65})}, RmsNormAttr{}, "not whole groups");
  p.refuses(Op::argmax, {p.ids}, {}, "input 0 is no matrix");
  p.refuses(Op::last_row, {p.k}, {}, "input 0 is no matrix");
  RopeAttr odd = kRope;
  odd.rotary_dim = 15;
  p.refuses(Op::rope, {p.x}, odd, "not an even part of the head");
  odd.rotary_dim = 18;
  p.refuses(Op::rope, {p.x}, odd, "not an even part of the head");
  odd.head_dim = 0;
  p.refuses(Op::rope, {p.x}, odd, "not whole heads");
  odd = kRope;
  odd.theta = 0;
  p.refuses(Op::rope, {p.x}, odd, "theta");
  p.refuses(Op::rope, {p.x, p.weight({16})}, kRope, "has not 8 values");
  p.refuses(Op::rope, {p.input({16, 64})}, kRope, "not one row per token");
  p.refuses(Op::rms_norm_rope, {p.x, p.weight({64})}, kRope, "has not 16 values");
}

TEST_CASE("Ops.RefusesBadStates") {
  Parts p;
  const ValueId kv = p.input({8, 32});
  CHECK(p.add(Op::kv_append, {kv, kv, p.k, p.v}).ok());
  CHECK(p.add(Op::attention, {p.x, p.k, p.v}, kAttention).ok());
  p.refuses(Op::kv_append, {kv, kv, p.v, p.k}, {}, "input 2 is not its state");
  p.refuses(Op::kv_append, {p.x, p.x, p.k, p.v}, {}, "not kv_heads * head_dim");
  AttentionAttr attr = kAttention;
  attr.n_heads = 3;
  p.refuses(Op::attention, {p.x, p.k, p.v}, attr, "no multiple of kv_heads");
  attr.n_heads = 8;
  p.refuses(Op::attention, {p.x, p.k, p.v}, attr, "columns are not heads * head_dim");
  attr = kAttention;
  attr.n_kv_heads = 1;
  p.refuses(Op::attention, {p.x, p.k, p.v}, attr, "other kv_heads");
  attr = kAttention;
  attr.window = -1;
  p.refuses(Op::attention, {p.x, p.k, p.v}, attr, "out of range");
  const ValueId k8 = p.graph.add_state("k8", {2, kPageTokens, 32}, DType::q8_0, StateKind::kv_k);
  p.refuses(Op::attention, {p.x, k8, p.v}, kAttention, "K and V pages differ");
  const ValueId short_page = p.graph.add_state("s", {2, 32, 16}, DType::f16, StateKind::kv_k);
  p.refuses(Op::attention, {p.x, short_page, p.v}, kAttention, "a page is not");

  const ValueId bcx = p.input({8, 30}), filter = p.weight({10, 3});
  CHECK(p.add(Op::short_conv, {bcx, filter, p.ring({2, 10})}, ShortConvAttr{3}).ok());
  p.refuses(Op::short_conv, {bcx, filter, p.ring({1, 10})}, ShortConvAttr{3}, "the ring is not");
  p.refuses(Op::short_conv, {bcx, filter, p.ring({2, 10})}, ShortConvAttr{4}, "4 taps");
  p.refuses(Op::short_conv, {bcx, filter, p.k}, ShortConvAttr{3}, "input 2 is not its state");
  p.refuses(Op::short_conv, {p.x, filter, p.ring({2, 10})}, ShortConvAttr{3}, "not 3 times");
}

TEST_CASE("Ops.RefusesBadExperts") {
  Parts p;
  MoeRouteAttr attr;
  p.refuses(Op::moe_route, {p.x}, attr, "cannot use 0");
  attr.n_used = 65;
  p.refuses(Op::moe_route, {p.x}, attr, "cannot use 65");
  attr.n_used = 2;
  p.refuses(Op::moe_route, {p.x, p.norm}, attr, "has not 64 values");
  const ValueId experts = p.weight({4, 10, 64});
  CHECK(p.add(Op::moe_matmul, {p.x, experts, p.chosen}).ok());
  CHECK(p.add(Op::moe_matmul, {p.input({16, 64}), experts, p.chosen}).ok());
  p.refuses(Op::moe_matmul, {p.input({24, 64}), experts, p.chosen}, {}, "neither one row");
  p.refuses(Op::moe_matmul, {p.x, p.w, p.chosen}, {}, "has not 3 dimension(s)");
  p.refuses(Op::moe_matmul, {p.x, experts, p.ids}, {}, "input 2 is no i32 array");
  p.refuses(Op::moe_sum, {p.x, p.input({8, 2})}, {}, "not one row per weight");
}

TEST_CASE("Ops.DecompositionsWriteTheSameOutputs") {
  Parts p;
  struct Row {
    Op op;
    std::vector<ValueId> in;
    Attr attr;
    std::vector<Op> parts;
  };
  const ValueId factors = p.weight({8});
  const std::vector<Row> rows = {
      {Op::add_rms_norm, {p.x, p.x, p.norm}, RmsNormAttr{1e-3f}, {Op::add, Op::rms_norm}},
      {Op::matmul_swiglu, {p.x, p.w, p.w}, {}, {Op::matmul, Op::matmul, Op::swiglu}},
      {Op::rms_norm_rope, {p.x, p.norm, factors}, kRope, {Op::rms_norm, Op::rope}}};
  for (const Row& row : rows) {
    CAPTURE(schema(row.op).name);
    Graph& graph = p.graph;
    graph.set_nodes({});
    REQUIRE(graph.add_node(row.op, row.in, row.attr, "fused").ok());
    const Node fused = graph.nodes()[0];
    schema(row.op).decompose(graph, graph.nodes()[0]);  // the node lives in the growing vector
    REQUIRE(graph.nodes().size() == 1 + row.parts.size());
    std::vector<ValueId> written;
    for (std::size_t i = 0; i < row.parts.size(); ++i) {
      const Node& part = graph.nodes()[1 + i];
      CHECK(part.op == row.parts[i]);
      CHECK(part.name.starts_with("fused."));
      written.insert(written.end(), part.out.begin(), part.out.end());
    }
    for (ValueId id : fused.out) CHECK(std::count(written.begin(), written.end(), id) == 1);
  }
  const auto& last = p.graph.nodes();
  CHECK(std::get<RmsNormAttr>(last[1].attr).eps == 1e-5f);
  CHECK(last[2].in.size() == 2);
}

TEST_CASE("Ops.CountsFlopsAndBytes") {
  Parts p;
  REQUIRE(p.add(Op::matmul, {p.x, p.w}).ok());
  const Node& node = p.graph.nodes()[0];
  const OpCost cost = schema(Op::matmul).cost(p.graph, node);
  CHECK(cost.flops == 2.0 * 8 * 24 * 64);
  CHECK(cost.bytes == 8 * 64 * 4 + 24 * 64 / 32 * 34 + 8 * 24 * 4);
  REQUIRE(p.add(Op::embed, {p.w, p.ids}).ok());
  CHECK(schema(Op::embed).cost(p.graph, p.graph.nodes()[1]).bytes == 8 * 68 + 8 * 4 + 8 * 64 * 4);
  REQUIRE(p.add(Op::moe_matmul, {p.x, p.weight({64, 10, 64}), p.chosen}).ok());
  CHECK(schema(Op::moe_matmul).cost(p.graph, p.graph.nodes()[2]).bytes ==
        8 * 64 * 4 + 16 * 10 * 64 * 4 + 8 * 2 * 4 + 16 * 10 * 4);
}
