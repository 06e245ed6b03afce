// The interface a backend implements. Each Backend owns one in-order queue. A Backend is used by
// one thread at a time (the Engine serialises steps); name(), info and supports() may be called by
// any.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/backend/buffer.h"
#include "runtime/backend/step.h"
#include "runtime/base/log.h"
#include "runtime/base/status.h"
#include "runtime/graph/graph.h"

namespace runnel {

/// Completion of submitted work.
class Event {
 public:
  virtual ~Event() = default;
  /// Blocks until the work is done. ERRORS: device_lost, out_of_memory, cancelled, internal.
  virtual Status wait() = 0;
};

/// A compiled segment: same work every step, driven by StepParams. It allocates nothing.
class Executable {
 public:
  virtual ~Executable() = default;
  /// Enqueues the segment. The returned Event belongs to the Executable and stays valid until the
  /// next submit. `states` must outlive the wait. ERRORS: device_lost, internal.
  virtual Result<Event*> submit(const StepParams& params, const StateTable& states) = 0;
  /// From now on every submit adds the time of the segment's i-th node to nanoseconds[i], which the
  /// caller keeps alive; an empty span ends that. ERRORS: unsupported.
  virtual Status time_nodes(std::span<std::int64_t> nanoseconds) {
    return nanoseconds.empty() ? Status()
                               : Status(Code::unsupported, "the backend cannot time its nodes");
  }
};

/// Consecutive nodes that run on one backend, and where each of their values lives.
struct Segment {
  std::span<const Node> nodes;
  /// Indexed by ValueId; state values have an empty view (they come with each submit).
  std::span<const BufferView> bindings;
};

/// What hardware does at best. One multiply-add counts as two operations; 0 = it has no such
/// instructions.
struct Ceilings {
  double read_bytes = 0;  // per second, as all of them; from memory, caches cold
  double int8_ops = 0, bf16_ops = 0, f32_ops = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;
  /// One line for people: "cpu: AVX-512 VNNI, 2 threads".
  virtual std::string description() const = 0;
  /// CPU threads that its kernels use.
  virtual int n_threads() const { return 1; }
  /// True when Buffers are plain host memory, so that backends can share them without copies.
  virtual bool uses_host_memory() const = 0;
  /// Bytes of device memory that allocate() may still find; host memory: no limit is known.
  virtual std::size_t free_bytes() const { return std::numeric_limits<std::size_t>::max(); }
  /// Tokens of a long prompt that a step should have at most: more make larger products, and take
  /// more memory.
  virtual std::int64_t step_tokens() const { return 512; }
  /// True exactly when a kernel row matches.
  virtual bool supports(const Graph& graph, const Node& node) const = 0;
  /// Name of the kernel row that would run `node`; empty when unsupported.
  virtual std::string_view kernel_name(const Graph& graph, const Node& node) const = 0;
  /// Zero-filled memory, 64-byte aligned. ERRORS: out_of_memory.
  virtual Result<std::unique_ptr<Buffer>> allocate(std::size_t bytes, MemoryKind kind) = 0;
  virtual Status upload(BufferView dst, std::span<const std::byte> src) = 0;
  virtual Status download(std::span<std::byte> dst, BufferView src) = 0;
  /// Makes a weight's bytes usable by kernels: a view of the mapped file where possible, else a
  /// packed or uploaded copy. `mapped` must outlive the Buffer.
  virtual Result<std::unique_ptr<Buffer>> place_weight(const Value& weight,
                                                       std::span<const std::byte> mapped) = 0;
  /// Bytes that place_weight() would allocate (0 for a view of the map).
  virtual std::size_t weight_bytes(const Value& weight) const = 0;
  /// Bytes of private scratch that compile() will allocate for these nodes.
  virtual std::size_t scratch_bytes(const Graph& graph, std::span<const Node> nodes) const = 0;
  /// compile() will be asked for these nodes later: a backend that has kernels to compile may begin
  /// in the background. Returns at once.
  virtual void expect(const Graph& graph, std::span<const Node> nodes) {
    (void)graph;
    (void)nodes;
  }
  /// ERRORS: unsupported (a node without kernel: also when the backend finds only now that one does
  /// not work here, and supports() has learned that), out_of_memory.
  virtual Result<std::unique_ptr<Executable>> compile(const Graph& graph,
                                                      const Segment& segment) = 0;
  /// Measures what the hardware does at best, with as many threads as the kernels use. Takes about
  /// a second. ERRORS: unsupported (nobody has written it for this backend), out_of_memory.
  virtual Result<Ceilings> measure_ceilings() {
    return Status(Code::unsupported, std::string(name()) + ": ceilings are not measured");
  }
};

}  // namespace runnel
