// The step buffer: parameters and addresses of all states of the sequence, kept in device memory
// and refreshed only where they changed.
#pragma once
#include <string>
#include <vector>

#include "backends/cuda/memory.h"
#include "backends/cuda/step_data.h"
#include "runtime/backend/step.h"
#include "runtime/graph/graph.h"

namespace runnel::cuda {

/// A state that a segment touches, checked before each run.
struct StateUse {
  std::int32_t index;
  bool paged;           // else one ring or window
  std::int64_t window;  // keys before pos that are read; 0 = all
  bool reads;
  std::string name;
};

class StepBuffer {
 public:
  /// `n_states`: one more than the largest state index.
  static Result<StepBuffer> make(const Device& device,
                                 const std::shared_ptr<Pool>& pool,
                                 std::vector<StateUse> uses,
                                 std::size_t n_states);

  /// Writes the parameters into page-locked memory, from where the graph copies them, and enqueues
  /// new tables of pages where the sequence or its pages changed.
  /// REQUIRES: the run before is done. ERRORS: invalid_argument (a page is missing), out_of_memory.
  Status fill(const StepParams& params, const StateTable& states);
  /// Enqueues the copy of the parameters (part of the graph).
  Status enqueue_copy() const;
  /// What kernels of the last run complained about. ERRORS: invalid_argument.
  Status failure() const;
  const StepData* device_step() const;

 private:
  explicit StepBuffer(const Device& device) : device_(&device) {}
  struct Table {
    std::vector<Buffer*> buffers;  // as of the last fill
    std::vector<std::size_t> offsets;
    std::size_t first = 0;  // of its addresses in pages_
    std::size_t capacity = 0;
  };
  Status check(const StateUse& use, const StepParams& params, const StateTable& states) const;
  bool same(const StateTable& states, const StepParams& params) const;
  Status write_tables(const StateTable& states, const StepParams& params);
  Status grow(std::size_t pages);

  const Device* device_;
  std::shared_ptr<Pool> pool_;
  std::vector<StateUse> uses_;
  std::vector<Table> tables_;
  PinnedBytes head_;  // StepData, one address per state; then the failure
  std::unique_ptr<Buffer> device_head_;
  PinnedBytes pages_;
  std::unique_ptr<Buffer> device_pages_;
  std::size_t pages_each_ = 0;  // addresses that every state's table has room for
  std::uint64_t generation_ = 0;
  bool known_ = false;
};

}  // namespace runnel::cuda
