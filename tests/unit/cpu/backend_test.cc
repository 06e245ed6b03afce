// What one-node conformance cases cannot see: choice of level, errors, and scratch that the steps
// of a segment share.
#include <cmath>

#include "backends/cpu/onednn.h"
#include "tests/unit/cpu/runner.h"

using namespace runnel;            // NOLINT: a test
using namespace runnel::cpu_test;  // NOLINT: a test

namespace {

std::string best_level() {
  return levels().back();
}

std::string suffix_of_best_level() {
  std::string suffix;
  for (const cpu::IsaLevel& level : cpu::kIsaLevels)
    if (level.name == best_level()) suffix = level.suffix;
  return suffix;
}

}  // namespace

TEST_CASE("RUNNEL_CPU_ISA chooses the level, and says so when it cannot") {
  for (const std::string& isa : levels()) CHECK(make_backend({isa, 1}).ok());
  const auto unknown = make_backend({"mmx", 1});
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.status().code() == Code::unsupported);
  CHECK(unknown.status().message().find("RUNNEL_CPU_ISA=mmx") != std::string::npos);
  for (const cpu::IsaLevel& level : cpu::kIsaLevels) {
    if (cpu::can_run(level.isa)) continue;
    CHECK(make_backend({level.name, 1}).status().code() == Code::unsupported);
  }
}

TEST_CASE("A kernel's name ends in the level that runs it") {
  Graph graph(1);
  const ValueId x = graph.add_input("x", {1, 32}, DType::f32);
  const ValueId w = graph.add_weight("w", {4, 32}, DType::bf16);
  REQUIRE(graph.add_node(Op::matmul, {x, w}, {}, "product").ok());
  for (const cpu::IsaLevel& level : cpu::kIsaLevels) {
    if (!cpu::can_run(level.isa)) continue;
    auto backend = make_backend({level.name, 1});
    REQUIRE(backend.ok());
    CHECK((*backend)->kernel_name(graph, graph.nodes()[0]) ==
          std::string("matmul.bf16.") + level.suffix);
  }
}

TEST_CASE("Bad numbers of threads are refused") {
  CHECK(make_backend({best_level(), -1}).status().code() == Code::invalid_argument);
  CHECK(make_backend({best_level(), 100000}).status().code() == Code::invalid_argument);
  CHECK(make_backend({best_level(), 0}).ok());
  BackendOptions options;
  options.n_prefill_threads = -1;
  CHECK(cpu::backend_info().create(options).status().code() == Code::invalid_argument);
}

TEST_CASE("Steps of several tokens run on threads of their own number") {
  const auto scratch = [](int n_threads, int n_prefill_threads, std::int64_t max_tokens) {
    BackendOptions options;
    options.n_threads = n_threads;
    options.n_prefill_threads = n_prefill_threads;
    auto backend = cpu::backend_info().create(options);
    REQUIRE(backend.ok());
    CHECK((*backend)->n_threads() == n_threads);
    Program program(max_tokens, max_tokens);
    program.node(Op::matmul, {program.input(512), program.weight({64, 512}, DType::tq1_0)});
    return (*backend)->scratch_bytes(program.graph, program.graph.nodes());  // some per thread
  };
  CHECK(scratch(1, 3, 16) == scratch(3, 0, 16));
  CHECK(scratch(1, 3, 16) > scratch(1, 0, 16));
  CHECK(scratch(1, 3, 1) == scratch(1, 0, 1));
}

TEST_CASE("Steps that share a quantised input equal steps alone") {
  // The same x in two activation formats, another x in between, and experts on shared scratch.
  const DType types[] = {DType::q4_0, DType::q8_0, DType::q4_k, DType::q6_k, DType::q4_0};
  const auto weights_of = [&types](Program& p) {
    std::vector<ValueId> w;
    for (DType type : types) w.push_back(p.weight({24, 256}, type));
    w.push_back(p.weight({3, 24, 256}, DType::q4_k));
    return w;
  };
  const auto node_of = [](Program& p, const std::vector<ValueId>& x, const std::vector<ValueId>& w,
                          ValueId ids, std::size_t i) {
    switch (i) {
      case 0:
        return p.node(Op::matmul, {x[0], w[0]});
      case 1:
        return p.node(Op::matmul_swiglu, {x[0], w[1], w[1]});
      case 2:
        return p.node(Op::matmul, {x[0], w[2]});
      case 3:
        return p.node(Op::matmul, {x[1], w[3]});
      case 4:
        return p.node(Op::matmul, {x[1], w[2]});
      case 5:
        return p.node(Op::moe_matmul, {x[1], w[5], ids});
      case 6:
        return p.node(Op::matmul, {x[1], w[3]});
      default:
        return p.node(Op::matmul, {x[0], w[4]});
    }
  };
  constexpr std::size_t kNodes = 8;
  const auto build = [&](std::size_t first, std::size_t last) -> Build {
    return [=](Program& p) {
      const std::vector<ValueId> x{p.input(256), p.input(256)};
      const std::vector<ValueId> w = weights_of(p);
      const ValueId ids = p.ids(1, {0, 2, 1, 1, 0, 2, 2, 2, 0});
      std::vector<ValueId> out;
      for (std::size_t i = first; i < last; ++i) out.push_back(node_of(p, x, w, ids, i));
      return out;
    };
  };
  for (const std::string& isa : levels()) {
    const auto together = run({isa, 2}, build(0, kNodes), 9, 9);
    for (std::size_t i = 0; i < kNodes; ++i) {
      CAPTURE(i);
      CHECK(same_bits(together[i], run({isa, 2}, build(i, i + 1), 9, 9)[0]));
    }
  }
}

TEST_CASE("Rope steps share a table only with equal attributes") {
  struct Kind {
    float theta;
    int rotary_dim;
    bool factors;
  };
  constexpr Kind kinds[] = {
      {1e4f, 32, false}, {1e6f, 32, false}, {1e4f, 16, false}, {1e4f, 32, true}, {1e4f, 32, false}};
  const auto build = [&kinds](std::size_t first, std::size_t last) -> Build {
    return [=](Program& p) {
      const ValueId x = p.input(64), factors = p.weight({16});
      std::vector<ValueId> out;
      for (std::size_t i = first; i < last; ++i) {
        RopeAttr attr;
        attr.head_dim = 32;
        attr.theta = kinds[i].theta;
        attr.rotary_dim = kinds[i].rotary_dim;
        std::vector<ValueId> in{x};
        if (kinds[i].factors) in.push_back(factors);
        out.push_back(p.node(Op::rope, in, attr));
      }
      return out;
    };
  };
  const auto together = run({best_level(), 2}, build(0, std::size(kinds)), 9, 5);
  for (std::size_t i = 0; i < std::size(kinds); ++i) {
    CAPTURE(i);
    CHECK(same_bits(together[i], run({best_level(), 2}, build(i, i + 1), 9, 5)[0]));
  }
  CHECK_FALSE(same_bits(together[0], together[1]));
  CHECK_FALSE(same_bits(together[0], together[2]));
  CHECK_FALSE(same_bits(together[0], together[3]));
  CHECK(same_bits(together[0], together[4]));
}

TEST_CASE("Ids out of range, missing pages and bad steps are errors, and the next step is right") {
  auto backend = make_backend({best_level(), 2});
  REQUIRE(backend.ok());
  Program program(4, 4);
  const ValueId table = program.weight({5, 8});
  const ValueId rows = program.node(Op::embed, {table, program.ids(0, {4, 0, 5, -1})});
  Runner runner(**backend, program);
  CHECK(runner.step(0, 2).ok());
  CHECK(runner.step(2, 1).code() == Code::invalid_argument);
  CHECK(runner.step(3, 1).code() == Code::invalid_argument);
  CHECK(runner.step(0, 0).code() == Code::invalid_argument);
  CHECK(runner.step(-1, 1).code() == Code::invalid_argument);
  CHECK(runner.step(0, 1).ok());
  Floats got;
  runner.append_rows(rows, 1, got);
  Floats last(8);
  std::memcpy(last.data(), program.weights[0].bytes.data() + 4 + 4 * 8 * sizeof(float), 32);
  CHECK(same_bits(got, last));
}

TEST_CASE("A step without its state pages is an error") {
  auto backend = make_backend({best_level(), 2});
  REQUIRE(backend.ok());
  Program program(100, 64);  // one page
  const ValueId k = program.input(16), v = program.input(16);
  const ValueId k_state = program.state({2, kPageTokens, 8}, DType::f16, StateKind::kv_k);
  const ValueId v_state = program.state({2, kPageTokens, 8}, DType::f16, StateKind::kv_v);
  program.node(Op::kv_append, {k, v, k_state, v_state});
  Runner runner(**backend, program);
  CHECK(runner.step(0, 64).ok());
  program.total = 128;  // the inputs' rows are not read: the step fails before
  for (Program::Input& input : program.inputs) input.bytes.resize(input.bytes.size() * 2);
  CHECK(runner.step(64, 1).code() == Code::invalid_argument);
}

TEST_CASE("compile() allocates what scratch_bytes() says") {
  auto backend = make_backend({best_level(), 3});
  REQUIRE(backend.ok());
  Program program(64, 64);
  const ValueId x = program.input(512);
  program.node(Op::matmul, {x, program.weight({64, 512}, DType::q4_k)});
  const std::size_t one = (*backend)->scratch_bytes(program.graph, program.graph.nodes());
  CHECK(one >= 64 * 512);  // 64 tokens in int8
  program.node(Op::matmul, {x, program.weight({64, 512}, DType::tq1_0)});
  const std::size_t two = (*backend)->scratch_bytes(program.graph, program.graph.nodes());
  CHECK(two > one);  // a decoded slab per thread is more than a panel
}

TEST_CASE("oneDNN and our kernels agree, in bf16 too") {
  if (best_level() == "baseline") return;
  for (DType type : {DType::f32, DType::bf16, DType::f16}) {
    const Build build = [type](Program& p) {
      const ValueId x = p.input(200);
      return std::vector<ValueId>{
          p.node(Op::matmul, {x, p.weight({300, 200}, type), p.weight({300})}),
          p.node(Op::matmul_swiglu, {x, p.weight({300, 200}, type), p.weight({300, 200}, type)})};
    };
    for (const char* onednn : {"f32", "bf16"}) {
      CAPTURE(onednn);
      const auto library = run({best_level(), 2, onednn}, build, 300, 300);
      CHECK(same_bits(library[0], run({best_level(), 5, onednn}, build, 300, 300)[0]));
      // Whoever asks for f32 gets activations as they are, which are those of the level below.
      const bool as_they_are = std::string(onednn) == "f32" && best_level() == "avx512bf16";
      const auto own = run({as_they_are ? "avx512" : best_level(), 2, "0"}, build, 300, 300);
      const double limit = 1e-5;
      for (std::size_t v = 0; v < own.size(); ++v) {
        double squares = 0, worst = 0;
        for (std::size_t i = 0; i < own[v].size(); ++i) {
          squares += static_cast<double>(own[v][i]) * own[v][i];
          worst = std::max(worst, std::abs(static_cast<double>(own[v][i]) - library[v][i]));
        }
        CHECK(worst <= limit * std::sqrt(squares / static_cast<double>(own[v].size())));
      }
    }
  }
}

TEST_CASE("Who multiplies float weights with many tokens is asked for, or measured and logged") {
  if (best_level() == "baseline") return;
  Graph graph(256);
  const ValueId x = graph.add_input("x", {256, 64}, DType::f32);
  REQUIRE(
      graph.add_node(Op::matmul, {x, graph.add_weight("w", {128, 64}, DType::bf16)}, {}, "y").ok());
  const auto kernel = [&graph](const std::string& onednn, std::vector<std::string>& lines) {
    BackendOptions options;
    options.log = Log([&lines](LogLevel, std::string_view line) { lines.emplace_back(line); },
                      LogLevel::debug);
    auto backend = make_backend({best_level(), 1, onednn}, options);
    REQUIRE(backend.ok());
    return std::string((*backend)->kernel_name(graph, graph.nodes()[0]));
  };
  std::vector<std::string> lines;
  CHECK(kernel("0", lines).starts_with("matmul.bf16." + suffix_of_best_level()));
  if (!cpu::has_onednn()) return;
  CHECK(kernel("f32", lines).starts_with("matmul.bf16.onednn."));
  CHECK(kernel("bf16", lines).starts_with("matmul.bf16.onednn."));
  CHECK(lines.empty());
  const std::string measured = kernel("", lines);
  CHECK(kernel("", lines) == measured);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].starts_with("cpu products of "));
}
