#include "runtime/text/pre_tokenizer.h"

#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/text/char_class.h"
#include "tests/unit/text/test_vocabulary.h"

namespace runnel {
namespace {

using Pieces = std::vector<std::string>;

template <class Splitter>
Pieces split(const Splitter& splitter, std::string_view text) {
  std::vector<std::size_t> ends;
  splitter.split(text, ends);
  Pieces pieces;
  std::size_t start = 0;
  for (const std::size_t end : ends) {
    REQUIRE(end > start);
    REQUIRE(end <= text.size());
    pieces.emplace_back(text.substr(start, end - start));
    start = end;
  }
  REQUIRE(start == text.size());
  return pieces;
}

PreTokenizer known(std::string_view name) {
  Result<PreTokenizer> made = PreTokenizer::make(name, std::nullopt);
  REQUIRE_MESSAGE(made.ok(), made.status().message());
  return *std::move(made);
}

TEST_CASE("PreTokenizer, SplitsAsLlama3") {
  const PreTokenizer pre = known("lfm2");
  CHECK(split(pre, "").empty());
  CHECK(split(pre, "I'll WE'VE it'S") == Pieces{"I", "'ll", " WE", "'VE", " it", "'S"});
  CHECK(split(pre, "x'\xC5\xBFy'\xE2\x84\xAA") == Pieces{"x", "'\xC5\xBF", "y", "'\xE2\x84\xAA"});
  CHECK(split(pre, "'r're'l'x") == Pieces{"'r", "'re", "'l", "'x"});
  CHECK(split(pre, "1234567 89") == Pieces{"123", "456", "7", " ", "89"});
  CHECK(split(pre, "a  b   ") == Pieces{"a", " ", " b", "   "});
  CHECK(split(pre, "a \n \n  b\n") == Pieces{"a", " \n \n", " ", " b", "\n"});
  CHECK(split(pre, "f(x)!\r\n\n y\tz\t1") == Pieces{"f", "(x", ")!\r\n\n", " y", "\tz", "\t", "1"});
  CHECK(split(pre, " ?!\n.") == Pieces{" ?!\n", "."});
  CHECK(split(pre, "\nab") == Pieces{"\n", "ab"});
  CHECK(split(pre,
              "\xC2\xA0"
              "caf\xC3\xA9") == Pieces{"\xC2\xA0"
                                       "caf\xC3\xA9"});
  CHECK(split(pre, "\xC2\xA0!") == Pieces{"\xC2\xA0", "!"});
}

TEST_CASE("PreTokenizer, SplitsAsQwen2AndGpt2") {
  CHECK(split(known("qwen2"), "a'S 123") == Pieces{"a", "'S", " ", "1", "2", "3"});
  CHECK(split(known("qwen3"), "12\n") == Pieces{"1", "2", "\n"});
  const PreTokenizer gpt2 = known("gpt-2");
  CHECK(split(gpt2, "it's IT'S") == Pieces{"it", "'s", " IT", "'", "S"});
  CHECK(split(gpt2, "a 1234567") == Pieces{"a", " 1234567"});
  CHECK(split(gpt2, "a!\n b\n\n c") == Pieces{"a", "!", "\n", " b", "\n\n", " c"});
  CHECK(split(gpt2, "(x) \t y  ") == Pieces{"(", "x", ")", " \t", " y", "  "});
}

TEST_CASE("PreTokenizer, TakesEachByteOfBrokenUtf8AsACharacter") {
  const PreTokenizer pre = known("llama-bpe");
  CHECK(split(pre,
              "\xFF"
              "a") == Pieces{"\xFF"
                             "a"});
  CHECK(split(pre,
              "\xE2\x82"
              "a") == Pieces{"\xE2\x82", "a"});
  CHECK(split(pre, "a\xC3") == Pieces{"a", "\xC3"});
}

TEST_CASE("PreTokenizer, ChoosesByNameThenPattern") {
  const auto family = [](std::optional<std::string_view> name,
                         std::optional<std::string_view> pattern) {
    Result<PreTokenizer> made = PreTokenizer::make(name, pattern);
    REQUIRE(made.ok());
    return made->family();
  };
  using Family = PreTokenizer::Family;
  for (const char* name : {"lfm2", "llama-bpe", "llama3", "llama-v3"})
    CHECK(family(name, std::nullopt) == Family::llama3);
  CHECK(family("gpt2", std::nullopt) == Family::gpt2);
  CHECK(family("default", std::nullopt) == Family::gpt2);
  CHECK(family(std::nullopt, std::nullopt) == Family::gpt2);
  CHECK(family("default", kQwen2Pattern) == Family::qwen2);
  CHECK(family("strange", kLlama3Pattern) == Family::llama3);
  CHECK(family(std::nullopt, kGpt2Pattern) == Family::gpt2);
  CHECK(family("qwen2", kLlama3Pattern) == Family::qwen2);
  const Result<PreTokenizer> unknown = PreTokenizer::make("strange", std::nullopt);
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.status().code() == Code::unsupported);
  CHECK(unknown.status().message().find("strange") != std::string::npos);
  if (PatternSplitter::available()) CHECK(family("strange", "a|b") == Family::pattern);
}

/// Draws characters on which PCRE2's Unicode tables and ours agree: libraries differ by version.
class RandomText {
 public:
  RandomText()
      : letter_(*PatternSplitter::compile("\\p{L}+")),
        number_(*PatternSplitter::compile("\\p{N}+")) {}
  std::string draw() {
    std::string text;
    for (std::size_t n = pick(24); n > 0; --n) {
      const std::size_t pool = pick(9), repeats = 1 + pick(3);
      for (std::size_t i = 0; i < repeats; ++i) text += one(pool);
    }
    return text;
  }

 private:
  std::size_t pick(std::size_t n) { return static_cast<std::size_t>(random_() % n); }
  std::string one(std::size_t pool) {
    static constexpr char32_t kSpaces[] = {9,      10,     11,     12,     13,     0x85,   0xA0,
                                           0x1680, 0x2000, 0x200A, 0x2028, 0x2029, 0x202F, 0x205F,
                                           0x3000, 0x180E, 0x200B, 0xFEFF, ' ',    ' '};
    static constexpr char32_t kFolds[] = {'s', 'S', 0x17F, 't', 'r', 'E',
                                          'v', 'm', 'l',   'L', 'd', 0x212A};
    switch (pool) {
      case 0:
        return {static_cast<char>(32 + pick(95))};
      case 1:
        return test::utf8(kSpaces[pick(std::size(kSpaces))]);
      case 2:
        return {" \r\n "[pick(4)]};
      case 3:
        return "'" + test::utf8(kFolds[pick(std::size(kFolds))]);
      case 4:
        return {static_cast<char>('0' + pick(10))};
      case 5:
        return {static_cast<char>(0x80 + pick(0x80))};  // usually broken
      case 6:
        return agreed(0x80, 0x800);
      case 7:
        return agreed(0x800, 0x10000);
      default:
        return agreed(0x10000, 0x110000);
    }
  }
  std::string agreed(char32_t from, char32_t to) {
    for (;;) {
      const char32_t c = from + static_cast<char32_t>(pick(to - from));
      if (c >= 0xD800 && c < 0xE000) continue;
      const auto [found, fresh] = agrees_.try_emplace(c, false);
      if (fresh) {
        const CharClass cls = char_class(c);
        const std::string text = test::utf8(c);
        found->second =
            (cls == CharClass::letter) == (split(letter_, "a" + text + "a").size() == 1) &&
            (cls == CharClass::number) == (split(number_, "1" + text + "1").size() == 1);
      }
      if (found->second) return test::utf8(c);
    }
  }
  std::mt19937 random_{7};
  PatternSplitter letter_, number_;
  std::unordered_map<char32_t, bool> agrees_;
};

TEST_CASE("PreTokenizer, HandWrittenSplittersEqualTheirPatternsOnRandomText") {
  if (!PatternSplitter::available()) {
    MESSAGE("built without PCRE2: nothing to compare with");
    return;
  }
  const std::pair<std::string_view, std::string_view> rows[] = {
      {"llama3", kLlama3Pattern}, {"qwen2", kQwen2Pattern}, {"gpt2", kGpt2Pattern}};
  for (const auto& [name, pattern] : rows) {
    CAPTURE(name);
    const PreTokenizer hand_written = known(name);
    Result<PatternSplitter> regex = PatternSplitter::compile(pattern);
    REQUIRE(regex.ok());
    RandomText texts;
    int n_wrong = 0;
    for (int round = 0; round < 30'000; ++round) {
      const std::string text = texts.draw();
      std::vector<std::size_t> ours, theirs;
      hand_written.split(text, ours);
      regex->split(text, theirs);
      if (ours == theirs) continue;
      if (n_wrong++ < 5) CHECK_MESSAGE(ours == theirs, text);
    }
    CHECK(n_wrong == 0);
  }
}

TEST_CASE("CharClass, MatchesWellKnownCharacters") {
  CHECK(char_class('\n') == CharClass::newline);
  CHECK(char_class('\v') == CharClass::space);
  CHECK(char_class(0x1C) == CharClass::other);  // isspace() of some languages, not White_Space
  CHECK(char_class(0x85) == CharClass::space);
  CHECK(char_class(0x180E) == CharClass::other);
  CHECK(char_class(0x200B) == CharClass::other);
  CHECK(char_class(0x3007) == CharClass::number);  // Nl
  CHECK(char_class(0xBD) == CharClass::number);    // No
  CHECK(char_class(0x0301) == CharClass::other);   // Mn
  CHECK(char_class(0x1C5) == CharClass::letter);   // Lt
  CHECK(char_class(0x2B0) == CharClass::letter);   // Lm
  CHECK(char_class(0x10FFFF) == CharClass::other);
  CHECK(char_class(0x110000) == CharClass::other);
}

}  // namespace
}  // namespace runnel
