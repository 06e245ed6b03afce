#include "runtime/text/detokenizer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace runnel {
namespace {

/// Table 3-7 of the Unicode standard: the byte ranges of well-formed characters.
struct Range {
  int low, high;
};
const std::vector<std::vector<Range>> kWellFormed = {
    {{0x00, 0x7F}},
    {{0xC2, 0xDF}, {0x80, 0xBF}},
    {{0xE0, 0xE0}, {0xA0, 0xBF}, {0x80, 0xBF}},
    {{0xE1, 0xEC}, {0x80, 0xBF}, {0x80, 0xBF}},
    {{0xED, 0xED}, {0x80, 0x9F}, {0x80, 0xBF}},
    {{0xEE, 0xEF}, {0x80, 0xBF}, {0x80, 0xBF}},
    {{0xF0, 0xF0}, {0x90, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}},
    {{0xF1, 0xF3}, {0x80, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}},
    {{0xF4, 0xF4}, {0x80, 0x8F}, {0x80, 0xBF}, {0x80, 0xBF}},
};

/// Decodes in one shot, row by row of the table: the longest start of any row, whole or replaced.
std::string replace_broken(const std::string& bytes) {
  std::string text;
  for (std::size_t pos = 0; pos < bytes.size();) {
    std::size_t longest = 1;
    bool whole = false;
    for (const auto& row : kWellFormed) {
      std::size_t n = 0;
      while (n < row.size() && pos + n < bytes.size()) {
        const int byte = static_cast<unsigned char>(bytes[pos + n]);
        if (byte < row[n].low || byte > row[n].high) break;
        ++n;
      }
      longest = std::max(longest, n);
      whole = whole || n == row.size();
    }
    text += whole ? bytes.substr(pos, longest) : "\xEF\xBF\xBD";
    pos += longest;
  }
  return text;
}

std::string stream(const std::string& bytes, unsigned cuts) {
  Detokenizer detokenizer;
  std::string text, piece;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    piece += bytes[i];
    if ((cuts >> i & 1u) == 0) continue;
    text += detokenizer.push(piece);
    piece.clear();
  }
  text += detokenizer.push(piece);
  text += detokenizer.flush();
  return text;
}

// The edges of every range of the table.
const std::string kEdges(
    "a\x7F\x80\x8F\x90\x9F\xA0\xBF\xC1\xC2\xDF\xE0\xE1\xED\xEF\xF0\xF1\xF4\xF5");

TEST_CASE("Detokenizer, EqualsOneShotDecodingForEveryShortSequenceAndCut") {
  std::size_t n_wrong = 0, n_all = 0;
  for (std::size_t length = 1; length <= 4; ++length) {
    std::string bytes(length, 'a');
    std::vector<std::size_t> digits(length, 0);
    for (bool more = true; more;) {
      for (std::size_t i = 0; i < length; ++i) bytes[i] = kEdges[digits[i]];
      const std::string expected = replace_broken(bytes);
      for (unsigned cuts = 0; cuts < 1u << (length - 1); ++cuts, ++n_all)
        n_wrong += stream(bytes, cuts) != expected;
      more = false;
      for (std::size_t i = 0; i < length && !more; ++i) {
        digits[i] = (digits[i] + 1) % kEdges.size();
        more = digits[i] != 0;
      }
    }
  }
  CHECK(n_all > 1'000'000);
  CHECK(n_wrong == 0);
}

TEST_CASE("Detokenizer, ReplacesMaximalSubpartsAsPythonDoes") {
  // Each pair: bytes, and what bytes.decode(errors="replace") gave (r = U+FFFD).
  const std::pair<std::string, std::string> cases[] = {
      {"\xE2\x82", "r"},
      {"\xE2\x82"
       "A",
       "rA"},
      {"\xF0\x9F\x98", "r"},
      {"\xC0\x80", "rr"},
      {"\xED\xA0\x80", "rrr"},
      {"\xF4\x90\x80\x80", "rrrr"},
      {"\xF0\x80\x80\x41", "rrrA"},
      {"\xE1\xE2\x80\xC3\xA9", "rr\xC3\xA9"},
  };
  for (const auto& [bytes, shape] : cases) {
    std::string expected;
    for (const char c : shape)
      expected += c == 'r' ? std::string("\xEF\xBF\xBD") : std::string(1, c);
    CHECK(stream(bytes, 0) == expected);
    CHECK(stream(bytes, ~0u) == expected);
  }
}

TEST_CASE("Detokenizer, HoldsBackOnlyWhatIsIncomplete") {
  Detokenizer detokenizer;
  CHECK(detokenizer.push("a\xF0\x9F\x98") == "a");
  CHECK(detokenizer.push("\x80z") == "\xF0\x9F\x98\x80z");
  CHECK(detokenizer.flush().empty());
  CHECK(detokenizer.push("\xE2") == "");
  CHECK(detokenizer.push("b") ==
        "\xEF\xBF\xBD"
        "b");
  CHECK(detokenizer.push("\xE2\x82") == "");
  CHECK(detokenizer.flush() == "\xEF\xBF\xBD");
  CHECK(detokenizer.push("\xAC") == "\xEF\xBF\xBD");  // a new stream knows nothing of the old one
}

/// The stop that is complete first, the longest of those; or npos.
std::string until_stop(const std::string& text,
                       const std::vector<std::string>& stops,
                       bool& stopped) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::size_t longest = 0;
    for (const std::string& stop : stops)
      if (stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0)
        longest = std::max(longest, stop.size());
    if (longest == 0) continue;
    stopped = true;
    return text.substr(0, end - longest);
  }
  stopped = false;
  return text;
}

TEST_CASE("StopMatcher, EqualsOneShotSearchHoweverTheStreamIsCut") {
  std::mt19937 random(20);
  const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const auto letters = [&](std::size_t n) {
    std::string text(n, 'a');
    for (char& c : text) c = "aab"[pick(3)];
    return text;
  };
  std::size_t n_stopped = 0, n_wrong = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::string> stops(pick(4));
    for (std::string& stop : stops) stop = letters(1 + pick(7));
    const std::string text = letters(pick(30));
    bool expects_stop = false;
    const std::string expected = until_stop(text, stops, expects_stop);
    stops.insert(stops.begin(), "");
    StopMatcher matcher(stops);
    std::string got;
    bool stopped = false;
    for (std::size_t pos = 0; pos < text.size();) {
      const std::size_t n = 1 + pick(text.size() - pos);
      const StopMatcher::Match match = matcher.push(text.substr(pos, n));
      got += match.text;
      stopped = match.stopped;
      pos += n;
    }
    got += matcher.flush();
    n_wrong += got != expected || stopped != expects_stop;
    n_stopped += expects_stop;
  }
  CHECK(n_wrong == 0);
  CHECK(n_stopped > 5'000);
  CHECK(n_stopped < 19'000);
}

TEST_CASE("StopMatcher, HoldsBackOnlyWhatMayBeginAStop") {
  StopMatcher matcher({"END", "\n\n"});
  CHECK(matcher.push("some text\n").text == "some text");
  CHECK(matcher.push("more").text == "\nmore");
  CHECK(matcher.push("EN").text == "");
  CHECK(matcher.push("EN").text == "EN");
  const StopMatcher::Match match = matcher.push("D of it");
  CHECK(match.text == "");
  CHECK(match.stopped);
  CHECK(matcher.push("late").text == "");
  CHECK(matcher.push("late").stopped);
  CHECK(matcher.flush() == "");
}

TEST_CASE("StopMatcher, FlushGivesTheHeldTextAndStartsAnew") {
  StopMatcher matcher({"abc"});
  CHECK(matcher.push("xab").text == "x");
  CHECK(matcher.flush() == "ab");
  CHECK(matcher.push("c").text == "c");
}

TEST_CASE("StopMatcher, IgnoresEmptyAndBrokenStops") {
  StopMatcher matcher({"", "\xA9", "\xC3"});
  const StopMatcher::Match match = matcher.push("\xC3\xA9");
  CHECK(match.text == "\xC3\xA9");
  CHECK_FALSE(match.stopped);
}

TEST_CASE("StopMatcher, HoldsBackWholeCharacters") {
  StopMatcher matcher({"\xC3\xA9!"});
  CHECK(matcher.push("a\xC3\xA9").text == "a");
  CHECK(matcher.push("?").text == "\xC3\xA9?");
}

}  // namespace
}  // namespace runnel
