// What the kernels know of a quantised format's file layout.
#pragma once
#include <stdint.h>

#include "backends/cpu/isa/simd.h"

namespace runnel::cpu::RUNNEL_ISA {

/// Base of every format: blocks of `values` values in `bytes` bytes, a scale (and with `has_min` a
/// minimum) per `group` values, value = scale * (q - offset) + minimum. most: of the stored q.
template <int64_t bytes, int64_t values, int group, int offset, bool has_min, int most = 255>
struct Layout {
  static constexpr int64_t kBlockBytes = bytes, kBlockValues = values;
  static constexpr int kGroup = group, kOffset = offset, kMost = most;
  static constexpr bool kHasMin = has_min;
};

}  // namespace runnel::cpu::RUNNEL_ISA
