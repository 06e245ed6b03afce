#include "runtime/base/checksum.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

namespace runnel {
namespace {

std::uint64_t sum_of(const std::string& text, std::uint64_t seed = 0) {
  Checksum sum(seed);
  sum.add(std::as_bytes(std::span(text)));
  return sum.value();
}

TEST_CASE("Checksum, IsTheSameHoweverTheBytesAreCut") {
  std::string text;
  for (int i = 0; i < 100; ++i) text += static_cast<char>(i * 7);
  for (std::size_t first = 0; first <= text.size(); ++first)
    for (std::size_t second : {std::size_t{0}, std::size_t{1}, std::size_t{8}, std::size_t{11}}) {
      const auto bytes = std::as_bytes(std::span(text));
      Checksum sum(3);
      sum.add(bytes.first(first));
      const std::size_t middle = std::min(second, text.size() - first);
      sum.add(bytes.subspan(first, middle));
      sum.add(bytes.subspan(first + middle));
      CHECK(sum.value() == sum_of(text, 3));
    }
}

TEST_CASE("Checksum, TellsLengthsSeedsAndSingleWordsApart") {
  std::set<std::uint64_t> seen;
  std::string zeros;
  for (int n = 0; n < 40; ++n, zeros += '\0') CHECK(seen.insert(sum_of(zeros)).second);
  for (std::uint64_t seed = 1; seed < 40; ++seed) CHECK(seen.insert(sum_of("", seed)).second);
  for (std::size_t at = 0; at < zeros.size(); ++at)
    for (int value = 1; value < 256; ++value) {
      std::string changed = zeros;
      changed[at] = static_cast<char>(value);
      CHECK(seen.insert(sum_of(changed)).second);
    }
}

TEST_CASE("Checksum, FindsTopBitsFlippedInTwoWords") {
  const std::string zeros(64, '\0');
  for (std::size_t a = 7; a < 64; a += 8)
    for (std::size_t b = a + 8; b < 64; b += 8) {
      std::string changed = zeros;
      changed[a] = changed[b] = '\x80';
      CHECK(sum_of(changed) != sum_of(zeros));
    }
}

// Files that exist depend on it.
TEST_CASE("Checksum, KeepsItsValues") {
  CHECK(sum_of("") == 0x352cd6833d627234U);
  CHECK(sum_of("session", 1) == 0x2ce26e9fcd9a4f70U);
}

}  // namespace
}  // namespace runnel
