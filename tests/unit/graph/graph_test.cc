#include "runtime/graph/graph.h"

#include <doctest/doctest.h>

using namespace runnel;

TEST_CASE("Graph.InfersPerTokenRows") {
  Graph graph(8);
  const ValueId ids = graph.add_input("ids", {8}, DType::i32);
  const ValueId table = graph.add_weight("token_embd.weight", {100, 16}, DType::f32);
  const ValueId norm = graph.add_weight("norm.weight", {16}, DType::f32);
  const ValueId x = *graph.add_node(Op::embed, {table, ids}, {}, "embed");
  const ValueId last = *graph.add_node(Op::last_row, {x}, {}, "last");
  const ValueId normed = *graph.add_node(Op::rms_norm, {last, norm}, RmsNormAttr{}, "norm");
  const ValueId logits = *graph.add_node(Op::matmul, {normed, table}, {}, "head");
  CHECK(graph.value(x).shape == Shape{8, 16});
  CHECK(graph.value(x).per_token);
  CHECK(graph.rows_in_step(graph.value(x), 3) == 3);
  CHECK(graph.rows_in_step(graph.value(ids), 3) == 3);
  CHECK(graph.value(last).shape == Shape{1, 16});
  for (ValueId id : {last, normed, logits}) {
    CHECK_FALSE(graph.value(id).per_token);
    CHECK(graph.rows_in_step(graph.value(id), 3) == 1);
  }
  CHECK(graph.value(logits).shape == Shape{1, 100});
}

TEST_CASE("Graph.GivesExpertRowsSeveralRowsPerToken") {
  Graph graph(4);
  const ValueId x = graph.add_input("x", {4, 16}, DType::f32);
  const ValueId logits = graph.add_input("logits", {4, 5}, DType::f32);
  const ValueId w = graph.add_weight("experts", {5, 6, 16}, DType::f16);
  const ValueId down = graph.add_weight("down", {5, 16, 6}, DType::f16);
  MoeRouteAttr attr;
  attr.n_used = 3;
  const ValueId weights = *graph.add_node(Op::moe_route, {logits}, attr, "route");
  const ValueId chosen = graph.nodes().back().out[1];
  CHECK(graph.value(chosen).dtype == DType::i32);
  CHECK(graph.value(chosen).shape == Shape{4, 3});
  const ValueId up = *graph.add_node(Op::moe_matmul, {x, w, chosen}, {}, "up");
  const ValueId y = *graph.add_node(Op::moe_matmul, {up, down, chosen}, {}, "down");
  const ValueId sum = *graph.add_node(Op::moe_sum, {y, weights}, {}, "sum");
  CHECK(graph.value(up).shape == Shape{12, 6});
  CHECK(graph.rows_in_step(graph.value(up), 2) == 6);
  CHECK(graph.value(y).shape == Shape{12, 16});
  CHECK(graph.value(sum).shape == Shape{4, 16});
  CHECK(graph.rows_in_step(graph.value(sum), 2) == 2);
}

TEST_CASE("Graph.AFailedNodeLeavesNothingBehind") {
  Graph graph(2);
  const ValueId x = graph.add_input("x", {2, 8}, DType::f32);
  const ValueId w = graph.add_weight("w", {4, 9}, DType::f32);
  const std::size_t n_values = graph.values().size();
  CHECK(graph.add_node(Op::matmul, {x, w}, {}, "bad").status().code() == Code::invalid_argument);
  CHECK(graph.add_node(Op::matmul, {x, 77}, {}, "bad").status().code() == Code::invalid_argument);
  CHECK(graph.add_node(Op::matmul, {x, -1}, {}, "bad").status().code() == Code::invalid_argument);
  CHECK(graph.add_node(Op::matmul, {x}, {}, "bad").status().code() == Code::invalid_argument);
  CHECK(graph.values().size() == n_values);
  CHECK(graph.nodes().empty());
}

TEST_CASE("Graph.AddNodeToComparesShapes") {
  Graph graph(2);
  const ValueId x = graph.add_input("x", {2, 8}, DType::f32);
  Value narrow;
  narrow.name = "narrow";
  narrow.shape = {2, 7};
  const ValueId out = graph.add_value(narrow);
  CHECK(graph.add_node_to(Op::add, {x, x}, {out}, {}, "sum").code() == Code::invalid_argument);
  graph.value(out).shape = {2, 8};
  CHECK(graph.add_node_to(Op::add, {x, x}, {out}, {}, "sum").ok());
  CHECK(graph.value(out).per_token);
  CHECK(graph.add_node_to(Op::add, {x, x}, {x}, {}, "sum").code() == Code::invalid_argument);
  CHECK(graph.add_node_to(Op::add, {x, x}, {}, {}, "sum").code() == Code::invalid_argument);
}

TEST_CASE("Graph.NumbersStatesInOrder") {
  Graph graph(1);
  const ValueId k = graph.add_state("k", {2, kPageTokens, 4}, DType::f16, StateKind::kv_k);
  const ValueId v = graph.add_state("v", {2, kPageTokens, 4}, DType::f16, StateKind::kv_v);
  CHECK(graph.value(k).state_index == 0);
  CHECK(graph.value(v).state_index == 1);
  CHECK(graph.find_value("v") == v);
  CHECK(graph.find_value("w") == kNoValue);
}

TEST_CASE("Graph.DumpsOneLinePerNode") {
  Graph graph(4);
  const ValueId x = graph.add_input("x", {4, 8}, DType::f32);
  const ValueId w = graph.add_weight("blk.0.attn_norm.weight", {8}, DType::f32);
  const ValueId normed = *graph.add_node(Op::rms_norm, {x, w}, RmsNormAttr{1e-5f}, "blk.0.norm");
  const ValueId sum = *graph.add_node(Op::add, {normed, x}, {}, "blk.0.add");
  const ValueId k = graph.add_state("cache.k", {2, kPageTokens, 4}, DType::f32, StateKind::kv_k);
  const ValueId v = graph.add_state("cache.v", {2, kPageTokens, 4}, DType::f32, StateKind::kv_v);
  REQUIRE(graph.add_node(Op::kv_append, {sum, sum, k, v}, {}, "blk.0.append").ok());
  MoeRouteAttr attr;
  attr.n_used = 2;
  REQUIRE(graph.add_node(Op::moe_route, {sum}, attr, "route").ok());
  CHECK(graph.dump() ==
        "%2 [4, 8] f32 = rms_norm(x, blk.0.attn_norm.weight) eps=1e-05  # blk.0.norm\n"
        "%3 [4, 8] f32 = add(%2, x)  # blk.0.add\n"
        "kv_append(%3, %3, cache.k, cache.v)  # blk.0.append\n"
        "%6 [4, 2] f32, %7 [4, 2] i32 = moe_route(%3) used=2 gating=sigmoid norm_eps=1e-06 "
        "scale=1  # route\n");
}
