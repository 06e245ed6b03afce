// Codec table: how each weight format becomes f32 and back. The plain truth that every kernel is
// compared with. Stateless, thread-safe.
#pragma once
#include <cstddef>
#include <cstdint>

#include "quant/dtype.h"

namespace runnel::quant {

/// Decode and encode of one format.
struct Codec {
  DType type;
  /// Writes n f32 values from n/block blocks at src. REQUIRES: n a multiple of the block.
  void (*decode_row)(const std::byte* src, float* dst, std::int64_t n);
  /// Writes n/block blocks from n f32 values. `importance`: n weights >= 0 of the squared error
  /// (imatrix), or null for the format's own default. Null where the format only decodes.
  void (*encode_row)(const float* src, const float* importance, std::byte* dst, std::int64_t n);
};

/// The codec of `type`. REQUIRES: type < DType::count.
const Codec& codec(DType type);

}  // namespace runnel::quant
