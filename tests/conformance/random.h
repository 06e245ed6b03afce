// Random numbers that are the same on every machine and standard library. Fixed seeds only.
#pragma once
#include <cmath>
#include <cstdint>
#include <string_view>

namespace runnel::conformance {

/// SOURCE: splitmix64, Steele, Lea and Flood, OOPSLA 2014.
class Random {
 public:
  /// The same text gives the same numbers (FNV-1a hash as the seed).
  explicit Random(std::string_view seed_text) {
    state_ = 0xCBF29CE484222325ull;
    for (char c : seed_text) state_ = (state_ ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  }
  std::uint64_t bits() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(n));
  }
  /// In (0, 1].
  double uniform() { return static_cast<double>((bits() >> 11) + 1) * 0x1p-53; }
  /// Mean 0, variance 1 (Box-Muller).
  float normal() {
    constexpr double kTwoPi = 6.283185307179586;
    const double radius = std::sqrt(-2.0 * std::log(uniform()));
    return static_cast<float>(radius * std::cos(kTwoPi * uniform()));
  }

 private:
  std::uint64_t state_;
};

}  // namespace runnel::conformance
