// The compile passes: assign -> fuse -> schedule -> memory. A pure function from a Graph to a
// PlanLayout: where each node runs, in which order, at which arena offset each value lives. Nothing
// is allocated, so a layout is also the memory promise that can be asked before loading.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "runtime/backend/backend.h"
#include "runtime/base/log.h"
#include "runtime/graph/graph.h"

namespace runnel {

enum class Fallback : std::uint8_t { warn, error };

struct CompileOptions {
  Fallback fallback = Fallback::warn;  // an op that the backend meant for it cannot run
  Log log;
  /// Index of the backend meant for a node: the backends before it do not get it. Empty: the first.
  std::function<std::size_t(const Node&)> meant = {};
};

/// Where a value lives in one memory domain. Weights and states have no offset.
struct Placement {
  static constexpr std::int64_t kNowhere = -1;
  std::int64_t offset = kNowhere;  // bytes into the domain's arena
};

/// Nodes [first, last) of the graph run on `backend`; before them, `copies` bring values over.
struct LayoutSegment {
  int backend = 0;
  std::size_t first = 0, last = 0;
  struct Copy {
    ValueId value;
    int from, to;  // memory domains
  };
  std::vector<Copy> copies;
};

struct PlanLayout {
  Graph graph;
  std::vector<int> node_backend;       // per node
  std::vector<int> domain_of_backend;  // backends on host memory share domain 0
  int n_domains = 1;
  std::vector<LayoutSegment> segments;
  std::vector<std::vector<Placement>> placements;  // [domain][value]
  std::vector<std::size_t> arena_bytes;            // per domain
  std::vector<std::size_t> scratch_bytes;          // per backend
};

/// Runs all passes. `backends` in order of preference; the last one is the fallback that supports
/// every op. ERRORS: unsupported (no backend has a kernel, or a fallback under Fallback::error).
Result<PlanLayout> plan_layout(Graph graph,
                               std::span<Backend* const> backends,
                               const CompileOptions& options);

// The passes, in order; exposed for tests.
/// Gives each node the first backend with a kernel; decomposes a fused op that nobody has. Nodes
/// that share a state get backends that share memory.
Status assign(PlanLayout& layout,
              std::span<Backend* const> backends,
              const CompileOptions& options);
/// Backend that each state lives on, by state_index: that of the nodes that use it (of one of them,
/// when several share host memory); 0 for a state that nothing uses.
std::vector<std::size_t> state_backends(const PlanLayout& layout);
/// Rewrites patterns into fused ops where the nodes' backend has a kernel for the fused op.
Status fuse(PlanLayout& layout, std::span<Backend* const> backends);
/// Groups nodes into the fewest segments and adds the copies between memory domains.
void schedule(PlanLayout& layout, std::span<Backend* const> backends);
/// Lifetimes to arena offsets, sharing storage; in place where the op's schema allows.
void place_memory(PlanLayout& layout);

/// Bytes of a value at its full shape, rounded up to 64.
std::size_t value_bytes(const Value& value);

}  // namespace runnel
