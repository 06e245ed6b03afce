// Memory of states that live on one backend or on several. Not thread-safe.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "runtime/backend/backend.h"

namespace runnel {

/// Which backend each state lives on: the one whose nodes use it.
struct StateHomes {
  std::vector<Backend*> backends;
  std::vector<std::size_t> of_state;  // index into backends; a state without an entry is on 0
};

/// One buffer on each backend, null where no state needs any.
struct StateBlock {
  std::vector<std::unique_ptr<Buffer>> parts;

  std::size_t bytes() const;
};

/// Bytes on each backend.
struct StateBytes {
  std::vector<std::size_t> parts;

  std::size_t total() const;
};

class StateMemory {
 public:
  /// The backends must outlive all blocks.
  explicit StateMemory(std::vector<Backend*> backends) : backends_(std::move(backends)) {}

  StateBytes none() const { return {std::vector<std::size_t>(backends_.size())}; }
  /// Zero-filled. ERRORS: out_of_memory, device_lost.
  Result<std::unique_ptr<StateBlock>> allocate(const StateBytes& bytes) const;
  /// REQUIRES: both of the same sizes. ERRORS: device_lost.
  Status copy(const StateBlock& to, const StateBlock& from) const;
  /// ERRORS: device_lost.
  Status read(std::size_t home, BufferView from, std::span<std::byte> bytes) const {
    return backends_[home]->download(bytes, from);
  }
  Status write(std::size_t home, BufferView to, std::span<const std::byte> bytes) const {
    return backends_[home]->upload(to, bytes);
  }

 private:
  std::vector<Backend*> backends_;
};

}  // namespace runnel
