// Runs a Program on a backend over a sequence of tokens that is cut into steps, so that results of
// different cuts, thread counts and ISA levels can be compared.
#pragma once
#include <algorithm>

#include "tests/unit/cpu/rig.h"

namespace runnel::cpu_test {

/// A Program with memory, ready to run step by step on one backend.
class Runner {
 public:
  Runner(Backend& backend, Program& program) : backend_(backend), program_(program) {
    bindings_.resize(program.graph.values().size());
    for (Program::Weight& weight : program.weights) {
      auto placed = backend.place_weight(program.graph.value(weight.id),
                                         std::span(weight.bytes).subspan(weight.skew));
      REQUIRE(placed.ok());
      bind(weight.id, *std::move(placed));
    }
    for (std::size_t id = 0; id < bindings_.size(); ++id) {
      const Value& value = program.graph.values()[id];
      if (value.role == Role::weight || value.role == Role::state) continue;
      auto made =
          backend.allocate(static_cast<std::size_t>(value.shape.elems()) * 4, MemoryKind::device);
      REQUIRE(made.ok());
      bind(static_cast<ValueId>(id), *std::move(made));
    }
    for (const Program::State& state : program.states) add_state(state);
    auto made = backend.compile(program.graph, {program.graph.nodes(), bindings_});
    CAPTURE(made.status().message());
    REQUIRE(made.ok());
    executable_ = *std::move(made);
  }

  Status step(std::int64_t pos, std::int64_t n_tokens) {
    for (const Program::Input& input : program_.inputs) {
      const std::size_t row = input.bytes.size() / static_cast<std::size_t>(program_.total);
      std::memcpy(view(input.id).host(), input.bytes.data() + static_cast<std::size_t>(pos) * row,
                  static_cast<std::size_t>(n_tokens) * row);
    }
    std::vector<StateBinding> table;
    for (const Pages& pages : states_) table.push_back({pages.host, {}, {}});
    const StepParams params{static_cast<std::int32_t>(pos), static_cast<std::int32_t>(n_tokens), 0,
                            0};
    auto done = executable_->submit(params, {table});
    return done.ok() ? (*done)->wait() : done.status();
  }
  /// Rows of `id` that the last step of n_tokens wrote, as 32-bit words.
  void append_rows(ValueId id, std::int64_t n_tokens, Floats& to) const {
    const Value& value = program_.graph.value(id);
    const float* data = reinterpret_cast<const float*>(view(id).host());
    to.insert(to.end(), data,
              data + program_.graph.rows_in_step(value, n_tokens) *
                         (value.shape.rank == 1 ? 1 : value.shape.cols()));
  }

 private:
  struct Pages {
    std::vector<std::unique_ptr<Buffer>> owned;
    std::vector<std::byte*> host;
  };
  const BufferView& view(ValueId id) const { return bindings_[static_cast<std::size_t>(id)]; }
  void bind(ValueId id, std::unique_ptr<Buffer> buffer) {
    bindings_[static_cast<std::size_t>(id)] = {buffer.get(), 0, buffer->size()};
    buffers_.push_back(std::move(buffer));
  }
  void add_state(const Program::State& state) {
    const std::int64_t n_pages =
        state.kind == StateKind::conv ? 1 : (program_.total + kPageTokens - 1) / kPageTokens;
    Pages pages;
    for (std::int64_t i = 0; i < n_pages; ++i) {
      auto page = backend_.allocate(state.bytes, MemoryKind::device);
      REQUIRE(page.ok());
      pages.host.push_back((*page)->host());
      pages.owned.push_back(*std::move(page));
    }
    states_.push_back(std::move(pages));
  }

  Backend& backend_;
  Program& program_;
  std::vector<BufferView> bindings_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<Pages> states_;
  std::unique_ptr<Executable> executable_;
};

/// Rows of all wanted values for all tokens, value by value, computed in steps of at most `chunk`.
inline std::vector<Floats> run(const Machine& machine,
                               const Build& build,
                               std::int64_t n_tokens,
                               std::int64_t chunk) {
  auto backend = make_backend(machine);
  CAPTURE(backend.status().message());
  REQUIRE(backend.ok());
  Program program(std::min(chunk, n_tokens), n_tokens);
  const std::vector<ValueId> wanted = build(program);
  for (const Node& node : program.graph.nodes()) {
    CAPTURE(node.name);
    CHECK((*backend)->supports(program.graph, node));
  }
  Runner runner(**backend, program);
  std::vector<Floats> results(wanted.size());
  for (std::int64_t pos = 0; pos < n_tokens; pos += chunk) {
    const std::int64_t n = std::min(chunk, n_tokens - pos);
    const Status status = runner.step(pos, n);
    CAPTURE(status.message());
    REQUIRE(status.ok());
    for (std::size_t i = 0; i < wanted.size(); ++i) runner.append_rows(wanted[i], n, results[i]);
  }
  return results;
}

inline bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace runnel::cpu_test
