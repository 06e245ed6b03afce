// A device for tests: reference kernels behind memory that nobody else can see, so that a value or
// a state in the wrong place fails the step.
#pragma once
#include <limits>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "backends/reference/reference.h"

namespace runnel::tests {

/// Memory without an address for the host.
class HiddenBuffer final : public Buffer {
 public:
  explicit HiddenBuffer(std::unique_ptr<Buffer> inner)
      : Buffer(nullptr, inner->size()), inner_(std::move(inner)) {}
  Buffer* inner() const { return inner_.get(); }

 private:
  std::unique_ptr<Buffer> inner_;
};

/// What is behind a view; null for memory of others.
inline BufferView uncovered(const BufferView& view) {
  const auto* hidden = dynamic_cast<const HiddenBuffer*>(view.buffer);
  return {hidden == nullptr ? nullptr : hidden->inner(), view.offset, view.size};
}

class HiddenExecutable final : public Executable {
 public:
  HiddenExecutable(std::unique_ptr<Executable> inner, std::vector<BufferView> bindings)
      : inner_(std::move(inner)), bindings_(std::move(bindings)) {}
  Result<Event*> submit(const StepParams& params, const StateTable& table) override;
  void compiled(std::unique_ptr<Executable> inner) { inner_ = std::move(inner); }
  std::span<const BufferView> bindings() const { return bindings_; }

 private:
  std::unique_ptr<Executable> inner_;
  std::vector<BufferView> bindings_;
  std::vector<std::vector<std::byte*>> hosts_;
  std::vector<StateBinding> states_;
};

class HiddenDevice final : public Backend {
 public:
  explicit HiddenDevice(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}
  std::string_view name() const override { return "device"; }
  std::string description() const override { return "device"; }
  bool uses_host_memory() const override { return false; }
  std::size_t free_bytes() const override { return free; }
  std::int64_t step_tokens() const override { return step; }
  bool supports(const Graph&, const Node& node) const override { return !lacks.contains(node.op); }
  std::string_view kernel_name(const Graph& graph, const Node& node) const override {
    return supports(graph, node) ? "device" : "";
  }
  Result<std::unique_ptr<Buffer>> allocate(std::size_t bytes, MemoryKind kind) override {
    RUNNEL_ASSIGN(auto made, inner_->allocate(bytes, kind));
    return std::unique_ptr<Buffer>(std::make_unique<HiddenBuffer>(std::move(made)));
  }
  Status upload(BufferView dst, std::span<const std::byte> src) override {
    return inner_->upload(uncovered(dst), src);
  }
  Status download(std::span<std::byte> dst, BufferView src) override {
    return inner_->download(dst, uncovered(src));
  }
  Result<std::unique_ptr<Buffer>> place_weight(const Value& weight,
                                               std::span<const std::byte> mapped) override {
    RUNNEL_ASSIGN(auto placed, inner_->place_weight(weight, mapped));
    return std::unique_ptr<Buffer>(std::make_unique<HiddenBuffer>(std::move(placed)));
  }
  std::size_t weight_bytes(const Value& weight) const override {
    return static_cast<std::size_t>(weight.shape.elems()) * sizeof(float);
  }
  std::size_t scratch_bytes(const Graph& graph, std::span<const Node> nodes) const override {
    return inner_->scratch_bytes(graph, nodes);
  }
  void expect(const Graph& graph, std::span<const Node>) override {
    expected.push_back(graph.max_tokens());
  }
  Result<std::unique_ptr<Executable>> compile(const Graph& graph, const Segment& segment) override {
    for (const Node& node : segment.nodes)
      if (broken.contains(node.op)) {
        lacks.insert(node.op);
        return Status(Code::unsupported, node.name + " does not work here");
      }
    std::vector<BufferView> bindings;
    for (const BufferView& view : segment.bindings) bindings.push_back(uncovered(view));
    auto made = std::make_unique<HiddenExecutable>(nullptr, std::move(bindings));
    RUNNEL_ASSIGN(auto inner, inner_->compile(graph, {segment.nodes, made->bindings()}));
    made->compiled(std::move(inner));
    return std::unique_ptr<Executable>(std::move(made));
  }

  // What this machine's devices have; set before an engine is made.
  static inline std::size_t free = std::numeric_limits<std::size_t>::max();
  static inline std::int64_t step = 512;
  static inline std::set<Op> lacks;
  static inline std::set<Op> broken;                 // which compile() finds out
  static inline std::vector<std::int64_t> expected;  // tokens of the steps announced so far
  static inline int n_steps = 0;                     // of all segments, so far

 private:
  std::unique_ptr<Backend> inner_;
};

/// States of other backends have no address here; a kernel that needs one fails.
inline Result<Event*> HiddenExecutable::submit(const StepParams& params, const StateTable& table) {
  ++HiddenDevice::n_steps;
  hosts_.clear();
  states_.clear();
  for (const StateBinding& state : table.states) {
    std::vector<std::byte*>& hosts = hosts_.emplace_back();
    for (std::size_t i = 0; i < state.buffers.size(); ++i) {
      const BufferView view = uncovered({state.buffers[i], state.offsets[i], 0});
      hosts.push_back(view.host());
    }
  }
  for (const std::vector<std::byte*>& hosts : hosts_) states_.push_back({hosts, {}, {}});
  return inner_->submit(params, {states_});
}

}  // namespace runnel::tests
