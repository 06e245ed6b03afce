#include "runtime/base/quote.h"

#include <doctest/doctest.h>

namespace runnel {
namespace {

TEST_CASE("quote, EscapesWhatATerminalWouldInterpret") {
  using std::string_literals::operator""s;
  CHECK(quote("a.b") == "'a.b'");
  CHECK(quote("") == "''");
  CHECK(quote("\x1b[31m\n"s + '\0' + "\x7f\xff") == "'\\x1b[31m\\x0a\\x00\\x7f\\xff'");
}

TEST_CASE("quote, ShortensLongNames") {
  CHECK(quote(std::string(80, 'x')) == "'" + std::string(80, 'x') + "'");
  CHECK(quote(std::string(81, 'x')) == "'" + std::string(80, 'x') + "...'");
}

}  // namespace
}  // namespace runnel
