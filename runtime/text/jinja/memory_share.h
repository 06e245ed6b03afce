// Counts the memory that values hold.
#pragma once
#include <cstddef>

namespace runnel::jinja {

/// A share of a memory budget, given back when the owner is destroyed. The counter must outlive it.
class MemoryShare {
 public:
  MemoryShare() = default;
  /// `used` may be null: nothing is counted.
  MemoryShare(std::size_t* used, std::size_t bytes) : used_(used), bytes_(bytes) {
    if (used_ != nullptr) *used_ += bytes_;
  }
  MemoryShare(const MemoryShare&) = delete;
  MemoryShare& operator=(const MemoryShare&) = delete;
  ~MemoryShare() {
    if (used_ != nullptr) *used_ -= bytes_;
  }

 private:
  std::size_t* used_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace runnel::jinja
