// Finds names that came from a file in constant time, whatever the file's author intended.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>

namespace runnel {

/// Name -> position. Borrows the names. The hash is seeded with an address, so that a file cannot
/// be crafted whose names all fall into one bucket and make loading quadratic.
class NameIndex {
 public:
  NameIndex() : positions_(0, SeededHash{reinterpret_cast<std::uintptr_t>(this)}) {}
  void reserve(std::size_t n_names) { positions_.reserve(n_names); }
  /// False, and nothing changes, when the name is there already.
  bool insert(std::string_view name, std::size_t position) {
    return positions_.emplace(name, position).second;
  }
  std::optional<std::size_t> find(std::string_view name) const {
    const auto found = positions_.find(name);
    if (found == positions_.end()) return std::nullopt;
    return found->second;
  }

 private:
  struct SeededHash {
    std::uint64_t seed = 0;
    std::size_t operator()(std::string_view name) const {
      std::uint64_t hash = seed;
      for (const char c : name) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio
        hash ^= hash >> 32;
      }
      return static_cast<std::size_t>(hash);
    }
  };
  std::unordered_map<std::string_view, std::size_t, SeededHash> positions_;
};

}  // namespace runnel
