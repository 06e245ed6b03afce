// Builds a small graph, runs it step by step on the reference backend, and reads results back.
// Owns everything; one sequence.
#pragma once
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "backends/reference/reference.h"
#include "quant/codecs.h"
#include "runtime/backend/host_buffer.h"

namespace runnel::reference_test {

using Floats = std::vector<float>;

/// n numbers with mean 0 and variance 1, the same on every run.
inline Floats gaussian(std::int64_t n, std::uint32_t seed, float scale = 1.0f) {
  std::minstd_rand bits(seed * 7919 + 1);
  Floats values(static_cast<std::size_t>(n));
  for (float& v : values) {
    double sum = -6.0;  // twelve uniform numbers: close enough to a Gaussian, and portable
    for (int i = 0; i < 12; ++i) sum += static_cast<double>(bits()) / 2147483647.0;
    v = scale * static_cast<float>(sum);
  }
  return values;
}

class Rig {
 public:
  explicit Rig(std::int64_t max_tokens = 1) : graph(max_tokens) {
    auto made = reference::backend_info().create({});
    REQUIRE(made.ok());
    backend = *std::move(made);
  }

  ValueId input(const Shape& shape, DType dtype = DType::f32) {
    return graph.add_input("in" + std::to_string(graph.values().size()), shape, dtype);
  }
  ValueId weight(const Shape& shape, const Floats& values, DType dtype = DType::f32) {
    const ValueId id = graph.add_weight("w" + std::to_string(graph.values().size()), shape, dtype);
    const std::int64_t cols = shape.cols();
    const std::size_t row = quant::row_bytes(dtype, static_cast<std::size_t>(cols));
    // One byte off: weights in a file need not be aligned.
    mapped.push_back(std::vector<std::byte>(static_cast<std::size_t>(shape.rows()) * row + 1));
    for (std::int64_t r = 0; r < shape.rows(); ++r)
      quant::codec(dtype).encode_row(values.data() + r * cols, nullptr,
                                     mapped.back().data() + 1 + static_cast<std::size_t>(r) * row,
                                     cols);
    auto placed = backend->place_weight(graph.value(id), std::span(mapped.back()).subspan(1));
    REQUIRE(placed.ok());
    bind(id, *std::move(placed));
    return id;
  }
  /// A state with its memory: pages of K or V, or one ring.
  ValueId state(const Shape& shape, DType dtype, StateKind kind, int n_pages = 1) {
    const ValueId id = graph.add_state("state", shape, dtype, kind);
    State made;
    for (int i = 0; i < n_pages; ++i) {
      const auto elems = static_cast<std::size_t>(shape.elems());
      auto page = HostBuffer::allocate(quant::row_bytes(dtype, elems));
      REQUIRE(page.ok());
      made.host.push_back((*page)->host());
      made.pages.push_back(*std::move(page));
    }
    states.push_back(std::move(made));
    return id;
  }
  ValueId node(Op op, std::vector<ValueId> in, const Attr& attr = {}) {
    auto made = graph.add_node(op, std::move(in), attr, std::string(schema(op).name));
    CAPTURE(made.status().message());
    REQUIRE(made.ok());
    return *made;
  }

  template <class T>
  void set(ValueId id, const std::vector<T>& values) {
    prepare_memory();
    const auto index = static_cast<std::size_t>(id);
    REQUIRE(values.size() * sizeof(T) <= bindings[index].size);
    std::memcpy(bindings[index].host(), values.data(), values.size() * sizeof(T));
  }
  Status try_run(const StepParams& params) {
    prepare_memory();
    auto made = backend->compile(graph, {graph.nodes(), bindings});
    if (!made.ok()) return made.status();
    std::vector<StateBinding> table;
    for (const State& state : states) table.push_back({state.host, {}, {}});
    auto done = (*made)->submit(params, {table});
    return done.ok() ? (*done)->wait() : done.status();
  }
  void run(std::int32_t pos, std::int32_t n_tokens, std::int32_t kv_keep = 0) {
    const Status status = try_run({pos, n_tokens, kv_keep, 0});
    CAPTURE(status.message());
    REQUIRE(status.ok());
  }
  /// The first n values.
  template <class T = float>
  std::vector<T> get(ValueId id, std::int64_t n) {
    const T* data = reinterpret_cast<const T*>(bindings[static_cast<std::size_t>(id)].host());
    return std::vector<T>(data, data + n);
  }
  /// A whole page or ring of a state, decoded.
  Floats get_state(std::size_t state_index, std::size_t page, const Shape& shape, DType dtype) {
    Floats values(static_cast<std::size_t>(shape.elems()));
    quant::codec(dtype).decode_row(states[state_index].host[page], values.data(), shape.elems());
    return values;
  }

  struct State {
    std::vector<std::unique_ptr<Buffer>> pages;
    std::vector<std::byte*> host;
  };
  Graph graph;
  std::unique_ptr<Backend> backend;
  std::vector<std::vector<std::byte>> mapped;
  std::vector<std::unique_ptr<Buffer>> buffers;
  std::vector<BufferView> bindings;
  std::vector<State> states;

 private:
  void bind(ValueId id, std::unique_ptr<Buffer> buffer) {
    bindings.resize(graph.values().size());
    bindings[static_cast<std::size_t>(id)] = {buffer.get(), 0, buffer->size()};
    buffers.push_back(std::move(buffer));
  }
  void prepare_memory() {
    bindings.resize(graph.values().size());
    for (std::size_t id = 0; id < bindings.size(); ++id) {
      const Value& value = graph.values()[id];
      if (bindings[id].buffer != nullptr || value.role == Role::state) continue;
      auto made = backend->allocate(static_cast<std::size_t>(value.shape.elems()) * sizeof(float),
                                    MemoryKind::device);
      REQUIRE(made.ok());
      bind(static_cast<ValueId>(id), *std::move(made));
    }
  }
};

/// Largest distance between a result and numbers computed in f64.
inline double distance(const Floats& got, const std::vector<double>& expected) {
  REQUIRE(got.size() == expected.size());
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(got[i]) - expected[i]));
  return worst;
}

}  // namespace runnel::reference_test
