#include "backends/reference/reference.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "backends/reference/kernel_table.h"
#include "runtime/backend/host_backend.h"

namespace runnel::reference {
namespace {

/// Work is done inside submit(), so there is nothing to wait for.
class DoneEvent final : public Event {
 public:
  Status wait() override { return {}; }
};

/// Runs its steps in order on the calling thread.
class ReferenceExecutable final : public Executable {
 public:
  ReferenceExecutable(std::vector<Step> steps,
                      std::int64_t max_tokens,
                      std::int64_t n_states,
                      std::unique_ptr<Buffer> scratch)
      : steps_(std::move(steps)),
        max_tokens_(max_tokens),
        n_states_(n_states),
        scratch_(std::move(scratch)) {}

  Result<Event*> submit(const StepParams& params, const StateTable& states) override {
    constexpr std::int32_t kLast = std::numeric_limits<std::int32_t>::max();
    if (params.n_tokens < 1 || params.n_tokens > max_tokens_ || params.pos < 0 ||
        params.pos > kLast - params.n_tokens || params.kv_gap < 0 || params.kv_gap > params.pos)
      return Status(Code::invalid_argument,
                    "a step's position or number of tokens is out of range");
    if (static_cast<std::int64_t>(states.states.size()) < n_states_)
      return Status(Code::invalid_argument, "a step without its states");
    const StepContext context{params, states, reinterpret_cast<float*>(scratch_->host())};
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const auto start = std::chrono::steady_clock::now();
      RUNNEL_TRY(steps_[i].run(steps_[i], context));
      if (times_.empty()) continue;
      times_[i] += std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count();
    }
    return &done_;
  }

  /// Each node is one step.
  Status time_nodes(std::span<std::int64_t> nanoseconds) override {
    times_ = nanoseconds;
    return {};
  }

 private:
  std::vector<Step> steps_;
  std::int64_t max_tokens_;
  std::int64_t n_states_;  // states the steps refer to: indices 0 .. n_states - 1
  std::unique_ptr<Buffer> scratch_;
  std::span<std::int64_t> times_;  // nanoseconds of each step; empty: nobody asks
  DoneEvent done_;
};

class ReferenceBackend final : public HostBackend {
 public:
  std::string_view name() const override { return "reference"; }
  std::string description() const override { return "reference: plain loops, 1 thread"; }

  bool supports(const Graph& graph, const Node& node) const override {
    return find(graph, node) != nullptr;
  }
  std::string_view kernel_name(const Graph& graph, const Node& node) const override {
    const Row* row = find(graph, node);
    return row ? row->name : std::string_view{};
  }

  std::size_t scratch_bytes(const Graph& graph, std::span<const Node> nodes) const override {
    std::int64_t floats = 0;  // steps run one after another and share
    for (const Node& node : nodes)
      if (const Row* row = find(graph, node))
        floats = std::max(floats, row->scratch_floats(graph, node));
    return static_cast<std::size_t>(floats) * sizeof(float);
  }

  Result<std::unique_ptr<Executable>> compile(const Graph& graph, const Segment& segment) override {
    std::vector<Step> steps;
    std::int64_t n_states = 0;
    for (const Node& node : segment.nodes) {
      const Row* row = find(graph, node);
      if (row == nullptr) return Status(Code::unsupported, node.name + ": no reference kernel");
      Result<Step> step = row->prepare(graph, node, segment.bindings);
      if (!step.ok()) return step.status().with_context(node.name);
      for (const Operand& operand : step->in)
        n_states = std::max<std::int64_t>(n_states, operand.state_index + 1);
      steps.push_back(*std::move(step));
    }
    RUNNEL_ASSIGN(auto scratch, HostBuffer::allocate(scratch_bytes(graph, segment.nodes)));
    return std::unique_ptr<Executable>(std::make_unique<ReferenceExecutable>(
        std::move(steps), graph.max_tokens(), n_states, std::move(scratch)));
  }

 private:
  static const Row* find(const Graph& graph, const Node& node) {
    return find_kernel(kernel_table(), graph, node, Caps{});
  }
};

Result<std::unique_ptr<Backend>> create(const BackendOptions&) {
  return std::unique_ptr<Backend>(std::make_unique<ReferenceBackend>());
}

bool available() {
  return true;
}

}  // namespace

BackendInfo backend_info() {
  return {"reference", "plain loops, every op; the specification", available, create, nullptr,
          true};
}

}  // namespace runnel::reference
