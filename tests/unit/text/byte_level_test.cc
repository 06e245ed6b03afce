#include "runtime/text/byte_level.h"

#include <set>
#include <string>

#include "runtime/text/utf8.h"
#include "tests/unit/text/test_vocabulary.h"

namespace runnel {
namespace {

TEST_CASE("ByteLevel, MapsEveryByteToItsOwnCharacterAndBack") {
  std::set<char32_t> seen;
  for (int byte = 0; byte < 256; ++byte) {
    const char32_t c = byte_level_char(static_cast<std::uint8_t>(byte));
    seen.insert(c);
    std::string bytes;
    REQUIRE(byte_level_decode(test::utf8(c), bytes));
    CHECK(bytes == std::string(1, static_cast<char>(byte)));
  }
  CHECK(seen.size() == 256);
  CHECK(byte_level_char(' ') == 0x120);
  CHECK(byte_level_char('\n') == 0x10A);
  CHECK(byte_level_char(0xAD) == 0x143);
  CHECK(byte_level_char('A') == 'A');
}

TEST_CASE("ByteLevel, RefusesOtherCharactersWithoutATrace") {
  for (const char* text : {"a b", "a\n", "a\xC5\x84", "a\xE2\x82\xAC", "a\xC2", "a\xC2\xAD"}) {
    std::string out = "kept";
    CHECK_FALSE(byte_level_decode(text, out));
    CHECK(out == "kept");
  }
}

TEST_CASE("Utf8, DecodesTheEdgesOfEveryLength") {
  for (const char32_t c :
       {0x0u, 0x7Fu, 0x80u, 0x7FFu, 0x800u, 0xD7FFu, 0xE000u, 0xFFFFu, 0x10000u, 0x10FFFFu}) {
    const std::string text = test::utf8(c);
    const Utf8Char got = decode_utf8(text, 0);
    CHECK(got.state == Utf8State::valid);
    CHECK(got.code_point == c);
    CHECK(got.n_bytes == text.size());
    CHECK(is_valid_utf8("a" + text));
    if (text.size() > 1) CHECK_FALSE(is_valid_utf8(text.substr(0, text.size() - 1)));
  }
  CHECK(is_valid_utf8(""));
  CHECK_FALSE(is_valid_utf8("\xED\xA0\x80"));
}

}  // namespace
}  // namespace runnel
