// Two small open-addressing hash tables of the tokenizer: pairs of integers and byte strings.
// Filled once, then read by any number of threads. Keys come from strangers' files, so the hash is
// seeded per process: a file cannot choose keys that collide.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace runnel {

/// A number that differs between processes. Results never depend on it, only speed.
std::uint64_t hash_seed();

/// Mixes `value` into `state`; every bit of both reaches the low bits of the result.
constexpr std::uint64_t hash_mix(std::uint64_t state, std::uint64_t value) {
  state = (state ^ value) * 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio
  return state ^ (state >> 32);
}

/// 64-bit key -> 32-bit value.
class PairTable {
 public:
  static constexpr std::uint32_t kNone = 0xFFFFFFFFu;
  /// Key of two 32-bit numbers.
  static constexpr std::uint64_t key(std::uint32_t a, std::uint32_t b) {
    return (static_cast<std::uint64_t>(a) << 32) | b;
  }
  /// Adds an entry; a key that is already there keeps its value. Returns the value it now has.
  /// REQUIRES: value != kNone.
  std::uint32_t insert(std::uint64_t key, std::uint32_t value);
  /// The value of `key`, or kNone.
  std::uint32_t find(std::uint64_t key) const {
    if (slots_.empty()) return kNone;
    return slots_[slot_of(key)].value;  // free slots hold kNone
  }

 private:
  struct Slot {
    std::uint64_t key = 0;
    std::uint32_t value = kNone;
  };
  std::size_t slot_of(std::uint64_t key) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t i = hash_mix(hash_mix(seed_, key), key) & mask;
    while (slots_[i].value != kNone && slots_[i].key != key) i = (i + 1) & mask;
    return i;
  }
  void grow();
  std::vector<Slot> slots_;  // size is 0 or a power of two, at most half full
  std::size_t n_entries_ = 0;
  std::uint64_t seed_ = hash_seed();
};

/// Byte string -> its index in a list of strings that the caller keeps.
class TextTable {
 public:
  /// Adds the listed texts whose `wanted` is not 0; of equal texts the first one wins. Empty texts
  /// are left out. REQUIRES: texts.size() == wanted.size() < 2^31; the bytes behind texts live on.
  TextTable(std::span<const std::string_view> texts, std::span<const std::uint8_t> wanted);
  TextTable() = default;
  /// Index of `text`, or -1.
  std::int32_t find(std::string_view text) const;

 private:
  struct Slot {
    std::string_view text;
    std::int32_t index = -1;
  };
  std::size_t slot_of(std::string_view text) const;
  std::vector<Slot> slots_;
  std::uint64_t seed_ = hash_seed();
};

}  // namespace runnel
