// A 64-bit checksum against accidents, not against forgers: any change within one aligned 8-byte
// word is always found (each step is a bijection of the state and of the word), any other change is
// missed with probability 2^-64. About 3 GB/s.
//   Checksum sum(seed); sum.add(bytes); sum.add(more); use(sum.value());
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace runnel {

/// Depends on the bytes and the seed only, not on how add() cuts them. Same on every platform that
/// is little-endian.
class Checksum {
 public:
  explicit Checksum(std::uint64_t seed = 0) : state_(seed ^ kOdd) {}

  void add(std::span<const std::byte> bytes) {
    n_bytes_ += bytes.size();
    while (!bytes.empty()) {
      if (fill_ == 0 && bytes.size() >= kWord) {
        for (; bytes.size() >= kWord; bytes = bytes.subspan(kWord)) mix(word(bytes.data()));
        continue;
      }
      partial_[fill_++] = bytes.front();
      bytes = bytes.subspan(1);
      if (fill_ < kWord) continue;
      mix(word(partial_));
      fill_ = 0;
    }
  }
  std::uint64_t value() const {
    Checksum end = *this;
    std::memset(end.partial_ + fill_, 0, kWord - fill_);
    end.mix(word(end.partial_));
    end.mix(n_bytes_);
    return end.state_;
  }

 private:
  static_assert(std::endian::native == std::endian::little);
  static constexpr std::size_t kWord = 8;
  static constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15U;  // 2^64 / golden ratio
  static std::uint64_t word(const std::byte* bytes) {
    std::uint64_t value;
    std::memcpy(&value, bytes, kWord);
    return value;
  }
  void mix(std::uint64_t value) {
    state_ = (state_ ^ value) * kOdd;
    state_ ^= state_ >> 32;  // carries high bits down again
  }
  std::uint64_t state_;
  std::uint64_t n_bytes_ = 0;
  std::byte partial_[kWord] = {};
  std::size_t fill_ = 0;  // bytes in partial_
};

}  // namespace runnel
