// Parses one GGUF image: header, metadata, tensor table. Every check of hostile input that concerns
// a single file is here; what concerns several files is in gguf_split.h. Pure functions.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/io/gguf.h"
#include "runtime/io/name_index.h"

namespace runnel {

/// One parsed file. All views point into the image.
struct GgufShard {
  std::uint32_t version = 0;
  std::vector<GgufKey> keys;  // file order
  NameIndex key_index;
  std::vector<GgufTensor> tensors;  // file order; each name once, no two overlap
};

/// REQUIRES: the image outlives the result. ERRORS: corrupt, unsupported (version, byte order,
/// tensor type), invalid_argument (image not 8-byte aligned).
Result<GgufShard> parse_gguf_shard(std::span<const std::byte> image);

}  // namespace runnel
