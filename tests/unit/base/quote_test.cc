#include "runtime/base/quote.h"

#include <doctest/doctest.h>

namespace runnel {
namespace {

TEST_CASE("quoted, EscapesWhatATerminalWouldInterpret") {
  using std::string_literals::operator""s;
  CHECK(quoted("a.b") == "'a.b'");
  CHECK(quoted("") == "''");
  CHECK(quoted("\x1b[31m\n"s + '\0' + "\x7f\xff") == "'\\x1b[31m\\x0a\\x00\\x7f\\xff'");
}

TEST_CASE("quoted, ShortensLongNames") {
  CHECK(quoted(std::string(80, 'x')) == "'" + std::string(80, 'x') + "'");
  CHECK(quoted(std::string(81, 'x')) == "'" + std::string(80, 'x') + "...'");
}

}  // namespace
}  // namespace runnel
