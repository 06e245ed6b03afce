// Plan: a compiled graph, ready to run. Static segments, addresses and copies; run() changes
// nothing but a few integers and allocates nothing. Used by one thread at a time (the Engine
// serialises).
#pragma once
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/backend/backend.h"
#include "runtime/compile/layout.h"
#include "runtime/compile/weights.h"

namespace runnel {

class Plan {
 public:
  /// Allocates arenas, places weights and compiles the segments. `backends` as given to
  /// plan_layout(); they and `weights` must outlive the Plan. ERRORS: out_of_memory, not_found,
  /// unsupported.
  static Result<std::unique_ptr<Plan>> create(PlanLayout layout,
                                              std::span<Backend* const> backends,
                                              WeightStore& weights);

  /// Runs one step. `ids`: params.n_tokens token ids, the input "ids".
  /// ERRORS: device_lost, out_of_memory, internal.
  Status run(const StepParams& params, const StateTable& states, std::span<const std::int32_t> ids);
  /// Copies rows [0, n_rows) of an output, [n_rows, cols] of 4-byte elements, after run().
  Status read_output(std::string_view name, std::int64_t n_rows, std::span<std::byte> dst) const;
  /// Copies rows [0, n_rows) of a value with role output, 4-byte elements, after run().
  Status read_rows(ValueId id, std::int64_t n_rows, std::span<std::byte> dst) const;

  /// Adds up the time of each node of layout().graph in every run, until it is given an empty span.
  /// REQUIRES: nanoseconds has one element per node, and outlives that. ERRORS: unsupported.
  Status time_nodes(std::span<std::int64_t> nanoseconds);

  const PlanLayout& layout() const { return layout_; }
  std::int64_t max_tokens() const { return layout_.graph.max_tokens(); }

 private:
  struct CompiledSegment {
    std::unique_ptr<Executable> executable;
    const LayoutSegment* layout = nullptr;
  };
  explicit Plan(PlanLayout layout) : layout_(std::move(layout)) {}
  Status place_values(std::span<Backend* const> backends, WeightStore& weights);
  Status copy(const LayoutSegment::Copy& copy);
  BufferView view(int domain, ValueId id) const;

  PlanLayout layout_;
  std::vector<Backend*> backends_;
  std::vector<Backend*> domain_owner_;             // a backend of each domain
  std::vector<std::unique_ptr<Buffer>> arenas_;    // per domain
  std::vector<std::vector<BufferView>> bindings_;  // [backend][value]
  std::vector<CompiledSegment> segments_;
  std::vector<std::byte> staging_;  // for copies between two devices
  ValueId ids_ = kNoValue;
};

}  // namespace runnel
