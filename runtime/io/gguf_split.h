// Split models: names of the shards ("NAME-00001-of-00003.gguf") and the metadata that must agree
// with them. Pure functions. SOURCE: keys split.no, split.count, split.tensors.count.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/status.h"
#include "runtime/io/gguf_shard.h"

namespace runnel {

/// What a shard's file name says.
struct ShardName {
  std::string stem;  // path up to and without "-00001-of-00003.gguf"
  int index = 0;     // 0-based
  int count = 0;
  /// Path of shard `i`, 0-based.
  std::string path(int i) const;
};

/// The parts of a shard's path, or nothing when the name has another form, index is not below
/// count, or count exceeds gguf_limits::kMaxShards.
std::optional<ShardName> parse_shard_name(const std::string& path);

/// What a shard's metadata says; absent keys: one file, unknown tensor count.
struct SplitKeys {
  std::int64_t index = 0;       // split.no
  std::int64_t count = 1;       // split.count; 0 is written into merged files and means 1
  std::int64_t n_tensors = -1;  // split.tensors.count, over all shards; -1: not given
};

/// ERRORS: corrupt, naming the key (not an integer, negative).
Result<SplitKeys> read_split_keys(const GgufShard& shard);

/// True for the keys above, which a writer of a single file must leave out.
bool is_split_key(std::string_view key);

}  // namespace runnel
