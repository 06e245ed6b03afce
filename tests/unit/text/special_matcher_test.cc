#include "runtime/text/special_matcher.h"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

namespace runnel {
namespace {

TEST_CASE("SpecialMatcher, TakesTheLeftmostThenTheLongest") {
  SpecialMatcher matcher;
  CHECK(matcher.find("abc", 0).id == -1);
  matcher.add("<a>", 1);
  matcher.add("<a>b", 2);
  matcher.add("a>bc", 3);
  matcher.add("<a>", 9);  // the first of equal texts stays
  matcher.add("", 4);
  const SpecialMatcher::Match longest = matcher.find("x<a>bcd", 0);
  CHECK(longest.pos == 1);
  CHECK(longest.n_bytes == 4);
  CHECK(longest.id == 2);
  CHECK(matcher.find("x<a>x", 0).id == 1);
  CHECK(matcher.find("x<a>bcd", 2).id == 3);
  const SpecialMatcher::Match none = matcher.find("<a", 0);
  CHECK(none.id == -1);
  CHECK(none.pos == 2);
}

TEST_CASE("SpecialMatcher, LeavesOutOverlongTexts") {
  SpecialMatcher matcher;
  const std::string fits(SpecialMatcher::kMaxBytes, 'a');
  matcher.add(fits + "a", 1);
  CHECK(matcher.find(fits + "a", 0).id == -1);
  matcher.add(fits, 2);
  CHECK(matcher.find(fits + "a", 0).id == 2);
}

TEST_CASE("SpecialMatcher, EqualsABruteForceSearch") {
  std::mt19937 random(3);
  const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const auto letters = [&](std::size_t n) {
    std::string text(n, 'a');
    for (char& c : text) c = "ab\xFF"[pick(3)];
    return text;
  };
  int n_wrong = 0, n_found = 0;
  for (int round = 0; round < 5'000; ++round) {
    std::vector<std::string> tokens(1 + pick(6));
    SpecialMatcher matcher;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      tokens[i] = letters(2 + pick(4));
      matcher.add(tokens[i], static_cast<TokenId>(i));
    }
    const std::string text = letters(pick(20));
    SpecialMatcher::Match expected{text.size(), 0, -1};
    for (std::size_t pos = 0; pos < text.size() && expected.id < 0; ++pos)
      for (std::size_t i = 0; i < tokens.size(); ++i)
        if (text.compare(pos, tokens[i].size(), tokens[i]) == 0 &&
            tokens[i].size() > expected.n_bytes)
          expected = {pos, tokens[i].size(), static_cast<TokenId>(i)};
    const SpecialMatcher::Match got = matcher.find(text, 0);
    n_wrong += got.pos != expected.pos || got.n_bytes != expected.n_bytes || got.id != expected.id;
    n_found += got.id >= 0;
  }
  CHECK(n_wrong == 0);
  CHECK(n_found > 1'000);
}

}  // namespace
}  // namespace runnel
