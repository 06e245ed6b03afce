#include "runtime/io/gguf_split.h"

#include <array>

#include "runtime/base/quote.h"
#include "runtime/io/gguf_limits.h"
#include "runtime/io/gguf_values.h"

namespace runnel {
namespace {

constexpr std::string_view kIndexKey = "split.no";
constexpr std::string_view kCountKey = "split.count";
constexpr std::string_view kTensorsKey = "split.tensors.count";
constexpr std::size_t kDigits = 5;
constexpr std::string_view kOf = "-of-";
constexpr std::string_view kExtension = ".gguf";

/// The number in `digits`, or nothing when another character occurs. REQUIRES: 5 characters.
std::optional<int> parse_digits(std::string_view digits) {
  int number = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + (c - '0');
  }
  return number;
}

std::string five_digits(int number) {
  const std::string digits = std::to_string(number);
  return std::string(kDigits - digits.size(), '0') + digits;
}

/// Keeps *value when the key is absent.
Status read_count(const GgufShard& shard, std::string_view name, std::int64_t* value) {
  const std::optional<std::size_t> found = shard.key_index.find(name);
  if (!found) return {};
  RUNNEL_ASSIGN(*value, gguf_int(shard.keys[*found]));
  if (*value < 0) return {Code::corrupt, "key " + quote(name) + ": is negative"};
  return {};
}

}  // namespace

std::string ShardName::path(int i) const {
  std::string text = stem + '-';
  text += five_digits(i + 1);
  text += kOf;
  text += five_digits(count);
  text += kExtension;
  return text;
}

std::optional<ShardName> parse_shard_name(const std::string& path) {
  constexpr std::size_t kTail = 1 + kDigits + kOf.size() + kDigits + kExtension.size();
  if (path.size() < kTail) return std::nullopt;
  const std::string_view tail = std::string_view(path).substr(path.size() - kTail);
  const std::string_view of = tail.substr(1 + kDigits, kOf.size());
  const std::string_view extension = tail.substr(kTail - kExtension.size());
  if (tail[0] != '-' || of != kOf || extension != kExtension) return std::nullopt;
  const std::optional<int> number = parse_digits(tail.substr(1, kDigits));
  const std::optional<int> count = parse_digits(tail.substr(1 + kDigits + kOf.size(), kDigits));
  if (!number || !count || *number < 1 || *number > *count || *count > gguf_limits::kMaxShards)
    return std::nullopt;
  return ShardName{path.substr(0, path.size() - kTail), *number - 1, *count};
}

Result<SplitKeys> read_split_keys(const GgufShard& shard) {
  SplitKeys keys;
  RUNNEL_TRY(read_count(shard, kIndexKey, &keys.index));
  RUNNEL_TRY(read_count(shard, kCountKey, &keys.count));
  RUNNEL_TRY(read_count(shard, kTensorsKey, &keys.n_tensors));
  if (keys.count == 0) keys.count = 1;
  return keys;
}

bool is_split_key(std::string_view key) {
  return key == kIndexKey || key == kCountKey || key == kTensorsKey;
}

}  // namespace runnel
