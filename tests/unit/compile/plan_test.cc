// The compile passes on small graphs, and plans that span two backends.
#include <algorithm>
#include <functional>
#include <map>

#include "runtime/compile/plan.h"
#include "tests/unit/compile/fake_backend.h"

namespace runnel::tests {
namespace {

constexpr std::int64_t kTokens = 3, kD = 32;

std::set<Op> every_op() {
  std::set<Op> ops;
  for (int i = 0; i < static_cast<int>(Op::count); ++i) ops.insert(static_cast<Op>(i));
  return ops;
}
std::set<Op> primitives() {
  std::set<Op> ops = every_op();
  for (const Op op : every_op())
    if (schema(op).fused) ops.erase(op);
  return ops;
}

/// A feed-forward block: embed, norm, gate and up, swiglu, down, residual, norm as output.
Graph small_graph() {
  Graph graph(kTokens);
  const ValueId ids = graph.add_input("ids", Shape{kTokens}, DType::i32);
  const auto weight = [&](const char* name, Shape shape) {
    return graph.add_weight(name, shape, DType::f32);
  };
  const auto node = [&](Op op, std::vector<ValueId> in, Attr attr = {}) {
    Result<ValueId> out = graph.add_node(op, std::move(in), attr, std::string(schema(op).name));
    REQUIRE_MESSAGE(out.ok(), out.status().message());
    return *out;
  };
  const ValueId h = node(Op::embed, {weight("table", {8, kD}), ids});
  const ValueId u = node(Op::rms_norm, {h, weight("norm1", {kD})}, RmsNormAttr{});
  const ValueId gate = node(Op::matmul, {u, weight("gate", {64, kD})});
  const ValueId up = node(Op::matmul, {u, weight("up", {64, kD})});
  const ValueId f = node(Op::swiglu, {gate, up});
  const ValueId down = node(Op::matmul, {f, weight("down", {kD, 64})});
  const ValueId sum = node(Op::add, {h, down});
  const ValueId out = node(Op::rms_norm, {sum, weight("norm2", {kD})}, RmsNormAttr{});
  graph.value(out).name = "out";
  graph.mark_output(out);
  return graph;
}

/// Deterministic weights.
WeightStore small_weights() {
  return WeightStore([data = std::make_shared<std::map<std::string, std::vector<float>>>()](
                         const std::string& name) {
    std::vector<float>& values = (*data)[name];
    if (values.empty()) {
      values.resize(8192);
      std::uint32_t state = static_cast<std::uint32_t>(std::hash<std::string>{}(name)) | 1u;
      for (float& x : values)
        x = static_cast<float>((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-24f - 0.5f;
    }
    return std::as_bytes(std::span(values));
  });
}

std::vector<float> run_on(std::vector<Backend*> backends, PlanLayout* layout_out = nullptr) {
  Result<PlanLayout> layout = plan_layout(small_graph(), backends, {});
  REQUIRE_MESSAGE(layout.ok(), layout.status().message());
  if (layout_out != nullptr) *layout_out = *layout;
  WeightStore weights = small_weights();
  Result<std::unique_ptr<Plan>> plan = Plan::create(*std::move(layout), backends, weights);
  REQUIRE_MESSAGE(plan.ok(), plan.status().message());
  const std::int32_t ids[] = {5, 0, 7};
  REQUIRE((*plan)->run({0, kTokens, 0, 0}, {}, ids).ok());
  std::vector<float> out(kTokens * kD);
  REQUIRE((*plan)->read_output("out", kTokens, std::as_writable_bytes(std::span(out))).ok());
  return out;
}

std::vector<Op> ops_of(const PlanLayout& layout) {
  std::vector<Op> ops;
  for (const Node& node : layout.graph.nodes()) ops.push_back(node.op);
  return ops;
}

}  // namespace

TEST_CASE("Fuse: patterns become fused ops where the backend has them, with equal results") {
  FakeDevice plain(primitives());
  const auto reference = reference_backend();
  PlanLayout unfused, fused;
  const std::vector<float> expected = run_on({&plain, reference.get()}, &unfused);
  CHECK(unfused.graph.nodes().size() == 8);
  CHECK(run_on({reference.get()}, &fused) == expected);
  CHECK(ops_of(fused) ==
        std::vector<Op>{Op::embed, Op::rms_norm, Op::matmul_swiglu, Op::matmul, Op::add_rms_norm});
}

TEST_CASE("Assign: what a backend lacks runs on the fallback, or is an error when strict") {
  const auto reference = reference_backend();
  std::set<Op> ops = primitives();
  ops.erase(Op::swiglu);
  FakeDevice device(ops);
  std::vector<std::string> warnings;
  const CompileOptions warn{
      Fallback::warn,
      Log([&](LogLevel, std::string_view line) { warnings.emplace_back(line); }, LogLevel::warn)};
  Backend* backends[] = {&device, reference.get()};
  const Result<PlanLayout> layout = plan_layout(small_graph(), backends, warn);
  REQUIRE(layout.ok());
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].find("op=swiglu") != std::string::npos);
  CHECK(layout->segments.size() == 3);
  const CompileOptions strict{Fallback::error, {}};
  CHECK(plan_layout(small_graph(), backends, strict).status().code() == Code::unsupported);
  Backend* alone[] = {&device};
  CHECK(plan_layout(small_graph(), alone, {}).status().code() == Code::unsupported);
}

TEST_CASE("Assign: a fused op nobody has is decomposed") {
  FakeDevice device(primitives());
  Graph graph(kTokens);
  const ValueId x = graph.add_input("x", Shape{kTokens, kD}, DType::f32);
  const ValueId gate = graph.add_weight("gate", Shape{64, kD}, DType::f32);
  const ValueId up = graph.add_weight("up", Shape{64, kD}, DType::f32);
  REQUIRE(graph.add_node(Op::matmul_swiglu, {x, gate, up}, {}, "mlp").ok());
  Backend* backends[] = {&device};
  const Result<PlanLayout> layout = plan_layout(std::move(graph), backends, {});
  REQUIRE_MESSAGE(layout.ok(), layout.status().message());
  CHECK(ops_of(*layout) == std::vector<Op>{Op::matmul, Op::matmul, Op::swiglu});
}

TEST_CASE("Plan: a graph over two memories copies what crosses and gives the same result") {
  const auto reference = reference_backend();
  const std::vector<float> expected = run_on({reference.get()});
  for (const Op missing : {Op::embed, Op::rms_norm, Op::matmul, Op::add, Op::swiglu}) {
    std::set<Op> ops = primitives();
    ops.erase(missing);
    FakeDevice device(ops);
    CAPTURE(schema(missing).name);
    CHECK(run_on({&device, reference.get()}) == expected);
    CHECK(device.n_uploads + device.n_downloads > 0);
  }
}

TEST_CASE("Memory: values that live at the same time do not share bytes") {
  FakeDevice device(primitives());
  Backend* backends[] = {&device};
  const Result<PlanLayout> layout = plan_layout(small_graph(), backends, {});
  REQUIRE(layout.ok());
  const Graph& graph = layout->graph;
  const std::size_t n_nodes = graph.nodes().size();
  // Simulates the plan: what a node wrote must be intact until its last reader has read it.
  const auto& places = layout->placements[1];
  std::map<std::int64_t, ValueId> owner;  // 64-byte line of the arena -> value last written there
  const auto lines = [&](ValueId id) {
    const std::int64_t first = places[static_cast<std::size_t>(id)].offset / 64;
    return std::pair(first, first + static_cast<std::int64_t>(value_bytes(graph.value(id))) / 64);
  };
  const auto write = [&](ValueId id) {
    for (auto [line, end] = lines(id); line < end; ++line) owner[line] = id;
  };
  write(graph.find_value("ids"));
  for (std::size_t i = 0; i < n_nodes; ++i) {
    for (ValueId id : graph.nodes()[i].in) {
      if (graph.value(id).role == Role::weight) continue;
      for (auto [line, end] = lines(id); line < end; ++line) CHECK(owner[line] == id);
    }
    for (ValueId id : graph.nodes()[i].out) write(id);
  }
  std::size_t total = 0;
  for (const Value& value : graph.values())
    if (value.role != Role::weight) total += value_bytes(value);
  CHECK(layout->arena_bytes[1] < total);
}

TEST_CASE("Schedule: independent nodes are grouped by backend") {
  const auto reference = reference_backend();
  std::set<Op> ops = primitives();
  ops.erase(Op::add);
  FakeDevice device(ops);
  Graph graph(kTokens);
  const ValueId x = graph.add_input("x", Shape{kTokens, kD}, DType::f32);
  const ValueId norm = graph.add_weight("norm", Shape{kD}, DType::f32);
  std::vector<ValueId> sums;
  for (int i = 0; i < 3; ++i) {  // add (host), then norm (device), three times over
    sums.push_back(*graph.add_node(Op::add, {x, x}, {}, "add"));
    REQUIRE(graph.add_node(Op::rms_norm, {sums.back(), norm}, RmsNormAttr{}, "norm").ok());
  }
  Backend* backends[] = {&device, reference.get()};
  const Result<PlanLayout> layout = plan_layout(std::move(graph), backends, {});
  REQUIRE(layout.ok());
  CHECK(layout->segments.size() == 2);
}

}  // namespace runnel::tests
