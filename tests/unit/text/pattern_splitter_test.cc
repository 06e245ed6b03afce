#include "runtime/text/pattern_splitter.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace runnel {
namespace {

std::vector<std::size_t> ends_of(std::string_view pattern, std::string_view text) {
  Result<PatternSplitter> splitter = PatternSplitter::compile(pattern);
  REQUIRE_MESSAGE(splitter.ok(), splitter.status().message());
  std::vector<std::size_t> ends;
  splitter->split(text, ends);
  return ends;
}

using Ends = std::vector<std::size_t>;

TEST_CASE("PatternSplitter, MatchesAndGapsArePieces" *
          doctest::skip(!PatternSplitter::available())) {
  CHECK(ends_of("b+", "").empty());
  CHECK(ends_of("b+", "abbcb") == Ends{1, 3, 4, 5});
  CHECK(ends_of("x", "abc") == Ends{3});
  CHECK(ends_of("x*", "axxb") == Ends{1, 3, 4});
  CHECK(ends_of("(?=b)", "abcb") == Ends{1, 3, 4});
  CHECK(ends_of("", "\xC3\xA9z") == Ends{2, 3});
}

TEST_CASE("PatternSplitter, WhiteSpaceIsUnicodes" * doctest::skip(!PatternSplitter::available())) {
  CHECK(ends_of("\\s",
                "a\xE1\xA0\x8E"
                "b") == Ends{5});  // U+180E is no white space
  CHECK(ends_of("\\s",
                "a\xE2\x80\xAF"
                "b") == Ends{1, 4, 5});
}

TEST_CASE("PatternSplitter, BrokenBytesReadAsReplacementCharacters" *
          doctest::skip(!PatternSplitter::available())) {
  CHECK(ends_of(".", "a\xE2\x82z\xFF") == Ends{1, 2, 3, 4, 5});
  CHECK(ends_of("\\x{FFFD}+", "a\xE2\x82z\xFF") == Ends{1, 3, 4, 5});
}

TEST_CASE("PatternSplitter, RejectsBadPatternsWithTheirPosition" *
          doctest::skip(!PatternSplitter::available())) {
  for (const std::string& bad : std::vector<std::string>{"ab(", "[", "\\C", "a{2,1}", "\xFF",
                                                         "(?<=a+)b", std::string(5000, '(')}) {
    const Result<PatternSplitter> made = PatternSplitter::compile(bad);
    REQUIRE_FALSE(made.ok());
    CHECK(made.status().code() == Code::corrupt);
    CHECK(made.status().message().find("byte") != std::string::npos);
  }
  const Result<PatternSplitter> made =
      PatternSplitter::compile(std::string(PatternSplitter::kMaxPatternBytes + 1, 'a'));
  REQUIRE_FALSE(made.ok());
  CHECK(made.status().code() == Code::unsupported);
}

TEST_CASE("PatternSplitter, GivesUpWhereAPatternPassesItsLimits" *
          doctest::skip(!PatternSplitter::available())) {
  // Exponential backtracking: every 'a' could end a group.
  const std::string text = "xx" + std::string(100, 'a') + "!";
  CHECK(ends_of("x|(a+)+b", text) == Ends{1, 2, text.size()});
  // Two million steps would find that nothing matches before the last "x".
  const std::string costly = "x" + std::string(21, 'a') + "!x";
  CHECK(ends_of("x|(a+)+b", costly) == Ends{1, costly.size()});
  // Deep recursion on a long text must end too, whatever the pieces are.
  CHECK(ends_of("(?:(.)\\1?)*z|(a(?2)?b)", std::string(200'000, 'a')).back() == 200'000);
  CHECK(ends_of("a\\Kb", "abab") == Ends{1, 2, 3, 4});
}

}  // namespace
}  // namespace runnel
