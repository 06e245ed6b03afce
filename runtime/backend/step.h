// What changes from step to step: a few integers and the sequence's state. Everything else about a
// step was fixed when its Plan was compiled.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace runnel {

/// Read by kernels from a small buffer. Positions count tokens from 0.
struct StepParams {
  std::int32_t pos = 0;       // position of the first token of the step
  std::int32_t n_tokens = 0;  // rows of per-token values in use
  std::int32_t kv_keep =
      0;  // kv_append writes only positions >= kv_keep (replay keeps the cached rest)
  std::int32_t kv_sealed = 0;  // tokens already sealed into quantised tiles
  std::int32_t kv_gap = 0;     // positions the KV pages have no place for (dropped tokens)

  /// Place of the first token in the KV pages.
  constexpr std::int64_t kv_pos() const { return std::int64_t{pos} - kv_gap; }
};
static_assert(sizeof(StepParams) == 20);

class Buffer;

/// Storage of one state Value of one sequence.
struct StateBinding {
  /// Host address of each page (KV) or of the whole ring (conv, one entry); null where not
  /// host-visible.
  std::span<std::byte* const> host_pages;
  std::span<Buffer* const> buffers;      // buffer of each page
  std::span<const std::size_t> offsets;  // byte offset of each page in its buffer
};

/// The sequence a step works on: states[i] belongs to the Value with state_index i.
struct StateTable {
  std::span<const StateBinding> states;
};

}  // namespace runnel
