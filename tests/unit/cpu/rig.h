// A graph under construction with random data, and backends of a chosen level and thread count. The
// same calls make the same data every time.
#pragma once
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/cpu.h"
#include "backends/cpu/isa/levels.h"
#include "quant/codecs.h"

namespace runnel::cpu_test {

using Floats = std::vector<float>;

inline Floats gaussian(std::int64_t n, std::uint32_t seed) {
  std::minstd_rand bits(seed * 7919 + 1);
  Floats values(static_cast<std::size_t>(n));
  for (float& v : values) {
    double sum = -6.0;  // twelve uniform numbers: close enough to a Gaussian, and portable
    for (int i = 0; i < 12; ++i) sum += static_cast<double>(bits()) / 2147483647.0;
    v = static_cast<float>(sum);
  }
  return values;
}

/// How the backend is made.
struct Machine {
  std::string isa;
  int n_threads = 1;
  std::string onednn = "0";  // RUNNEL_ONEDNN
};

inline Result<std::unique_ptr<Backend>> make_backend(const Machine& machine,
                                                     BackendOptions options = {}) {
  // NOLINTBEGIN(concurrency-mt-unsafe): no other thread runs here.
  setenv("RUNNEL_CPU_ISA", machine.isa.c_str(), 1);
  setenv("RUNNEL_ONEDNN", machine.onednn.c_str(), 1);
  // NOLINTEND(concurrency-mt-unsafe)
  options.n_threads = machine.n_threads;
  return cpu::backend_info().create(options);
}

/// Names of the levels that this CPU runs.
inline std::vector<std::string> levels() {
  std::vector<std::string> names;
  for (const cpu::IsaLevel& level : cpu::kIsaLevels)
    if (cpu::can_run(level.isa)) names.push_back(level.name);
  return names;
}

/// Random rows in a weight format. Kept: encoders search, and tests make the same weights often.
inline const std::vector<std::byte>& encoded(const Shape& shape, DType dtype, std::uint32_t seed) {
  static std::map<std::string, std::vector<std::byte>> made;
  const std::string key =
      shape.to_string() + std::string(quant::info(dtype).name) + std::to_string(seed);
  std::vector<std::byte>& bytes = made[key];
  if (!bytes.empty()) return bytes;
  const Floats values = gaussian(shape.elems(), seed);
  const std::size_t row = quant::row_bytes(dtype, static_cast<std::size_t>(shape.cols()));
  bytes.resize(static_cast<std::size_t>(shape.rows()) * row);
  for (std::int64_t r = 0; r < shape.rows(); ++r)
    quant::codec(dtype).encode_row(values.data() + r * shape.cols(), nullptr,
                                   bytes.data() + static_cast<std::size_t>(r) * row, shape.cols());
  return bytes;
}

/// A graph under construction, with the data of its inputs, weights and states.
class Program {
 public:
  Program(std::int64_t max_tokens, std::int64_t n_tokens) : graph(max_tokens), total(n_tokens) {}

  /// Random rows for all tokens of the sequence.
  ValueId input(std::int64_t cols) {
    const ValueId id = graph.add_input(name(), {graph.max_tokens(), cols}, DType::f32);
    const Floats values = gaussian(total * cols, seed());
    std::vector<std::byte> bytes(values.size() * sizeof(float));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    inputs.push_back({id, std::move(bytes)});
    return id;
  }
  ValueId ids(std::int64_t cols, std::vector<std::int32_t> values) {
    const Shape shape = cols == 0 ? Shape{graph.max_tokens()} : Shape{graph.max_tokens(), cols};
    const ValueId id = graph.add_input(name(), shape, DType::i32);
    std::vector<std::byte> bytes(values.size() * sizeof(std::int32_t));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    inputs.push_back({id, std::move(bytes)});
    return id;
  }
  ValueId weight(const Shape& shape, DType dtype = DType::f32) {
    const ValueId id = graph.add_weight(name(), shape, dtype);
    // Blocks in a file lie anywhere; plain values are aligned.
    const std::size_t skew = quant::info(dtype).block_elems == 1 ? 4 : 1;
    std::vector<std::byte> bytes(skew);
    const std::vector<std::byte>& rows = encoded(shape, dtype, seed());
    bytes.insert(bytes.end(), rows.begin(), rows.end());
    weights.push_back({id, std::move(bytes), skew});
    return id;
  }
  ValueId state(const Shape& shape, DType dtype, StateKind kind) {
    states.push_back({quant::row_bytes(dtype, static_cast<std::size_t>(shape.elems())), kind});
    return graph.add_state(name(), shape, dtype, kind);
  }
  ValueId node(Op op, std::vector<ValueId> in, const Attr& attr = {}) {
    auto made = graph.add_node(op, std::move(in), attr, name());
    CAPTURE(made.status().message());
    REQUIRE(made.ok());
    return *made;
  }

  struct Input {
    ValueId id;
    std::vector<std::byte> bytes;
  };
  struct Weight {
    ValueId id;
    std::vector<std::byte> bytes;
    std::size_t skew;
  };
  struct State {
    std::size_t bytes;
    StateKind kind;
  };
  Graph graph;
  std::int64_t total;
  std::vector<Input> inputs;
  std::vector<Weight> weights;
  std::vector<State> states;

 private:
  std::string name() { return "value" + std::to_string(graph.values().size()); }
  std::uint32_t seed() { return ++seed_; }
  std::uint32_t seed_ = 0;
};

/// Adds nodes; returns the values whose rows are wanted.
using Build = std::function<std::vector<ValueId>(Program&)>;

}  // namespace runnel::cpu_test
