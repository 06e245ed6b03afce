// ByteCursor and checked arithmetic: what every parser of outside bytes stands on.
#include <doctest/doctest.h>

#include <array>
#include <limits>

#include "runtime/base/byte_cursor.h"
#include "runtime/base/checked.h"

namespace runnel {
namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

std::array<std::byte, 6> six() {
  std::array<std::byte, 6> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i + 1);
  return bytes;
}

TEST_CASE("ByteCursor, ReadsLittleEndianInOrder") {
  const auto bytes = six();
  ByteCursor in(bytes);
  CHECK(in.read<std::uint16_t>() == 0x0201);
  CHECK(in.read<std::uint8_t>() == 3);
  CHECK(in.offset() == 3);
  CHECK(in.take_text(2) == "\x04\x05");
  CHECK(in.remaining() == 1);
  CHECK(in.ok());
}

TEST_CASE("ByteCursor, StaysFailedAfterReadingPastTheEnd") {
  const auto bytes = six();
  ByteCursor in(bytes);
  in.read<std::uint32_t>();
  CHECK(in.read<std::uint32_t>() == 0);
  CHECK_FALSE(in.ok());
  CHECK(in.offset() == 4);
  CHECK(in.read<std::uint8_t>() == 0);  // would have been there
  CHECK(in.take(0).empty());
  CHECK_FALSE(in.ok());
}

TEST_CASE("ByteCursor, RefusesLengthsThatWouldWrap") {
  const auto bytes = six();
  for (const std::uint64_t n : {std::uint64_t{7}, kMax, kMax - 5, kMax / 2 + 1}) {
    ByteCursor in(bytes);
    in.read<std::uint8_t>();
    CHECK(in.take(n).empty());
    CHECK_FALSE(in.ok());
  }
  ByteCursor all(bytes);
  CHECK(all.take(6).size() == 6);
  CHECK(all.take(0).empty());
  CHECK(all.ok());
}

TEST_CASE("checked, DetectsOverflow") {
  std::uint64_t out = 0;
  CHECK((checked_mul(kMax / 3, 3, &out) && out == kMax));
  CHECK_FALSE(checked_mul(kMax / 2 + 1, 2, &out));
  CHECK((checked_mul(0, kMax, &out) && out == 0));
  CHECK((checked_add(kMax - 1, 1, &out) && out == kMax));
  CHECK_FALSE(checked_add(kMax, 1, &out));
}

TEST_CASE("align_up, GivesTheNextMultiple") {
  CHECK(align_up(0, 32) == 0);
  CHECK(align_up(1, 32) == 32);
  CHECK(align_up(32, 32) == 32);
  CHECK(align_up(33, 24) == 48);
}

}  // namespace
}  // namespace runnel
