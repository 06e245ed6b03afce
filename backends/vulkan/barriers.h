// Decides where a barrier is due from what each dispatch reads and writes. Plain bookkeeping.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "backends/vulkan/kernel.h"

namespace runnel::vulkan {

class Barriers {
 public:
  /// Bytes of a buffer, or a whole state (buffer = null).
  struct Range {
    const void* buffer;
    std::size_t first, end;
    Access access;
  };

  /// True when something in `ranges` must wait for what was added since the last barrier; forgets
  /// that then. Adds `ranges`.
  bool add(const std::vector<Range>& ranges) {
    bool due = false;
    for (const Range& range : ranges)
      for (const Range& before : open_)
        due = due || (range.buffer == before.buffer && range.first < before.end &&
                      before.first < range.end &&
                      (range.access != Access::read || before.access != Access::read));
    if (due) open_.clear();
    open_.insert(open_.end(), ranges.begin(), ranges.end());
    return due;
  }

 private:
  std::vector<Range> open_;
};

}  // namespace runnel::vulkan
