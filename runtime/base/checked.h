// Overflow-safe integer arithmetic for sizes that come from files.
#pragma once
#include <cstddef>
#include <cstdint>

namespace runnel {

/// out = a * b; false on overflow (out undefined).
[[nodiscard]] constexpr bool checked_mul(std::uint64_t a, std::uint64_t b, std::uint64_t* out) {
  return !__builtin_mul_overflow(a, b, out);
}

/// out = a + b; false on overflow (out undefined).
[[nodiscard]] constexpr bool checked_add(std::uint64_t a, std::uint64_t b, std::uint64_t* out) {
  return !__builtin_add_overflow(a, b, out);
}

/// Smallest multiple of `alignment` >= value. REQUIRES: no overflow, alignment > 0.
constexpr std::size_t align_up(std::size_t value, std::size_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

}  // namespace runnel
