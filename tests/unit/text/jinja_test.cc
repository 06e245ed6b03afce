// The template engine against Jinja2 itself: data/jinja_cases.json is made by make_jinja_cases.py.
#include <doctest/doctest.h>

#include <ctime>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/text/chat_template.h"
#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/context.h"
#include "runtime/text/jinja/lexer.h"
#include "runtime/text/jinja/search.h"
#include "runtime/text/jinja/strftime.h"
#include "runtime/text/jinja/value.h"
#include "tests/unit/text/test_data.h"

namespace runnel::jinja {
namespace {

using Json = nlohmann::ordered_json;

TEST_CASE("Jinja, GivesWhatJinja2Gives") {
  const Json all = test::read_data_json("jinja_cases.json");
  const Json sets = test::read_data_json("template_vars.json");
  REQUIRE(all["cases"].size() > 400);
  for (const Json& one : all["cases"]) {
    std::string source;
    Json variables = all["data"];
    if (one.contains("file")) {
      source = test::read_data("templates/" + one["file"].get<std::string>());
      variables = sets[one["vars_of"].get<std::string>()];
      CAPTURE(one["vars_of"].get<std::string>());
    } else {
      source = one["template"].get<std::string>();
      if (one.contains("vars")) variables = one["vars"];
    }
    CAPTURE(source);
    const Result<ChatTemplate> parsed = ChatTemplate::parse(source);
    const Result<std::string> rendered =
        parsed.ok() ? parsed->render(variables) : Result<std::string>(parsed.status());
    CAPTURE(rendered.status().message());
    if (one.contains("text")) {
      REQUIRE(rendered.ok());
      CHECK(*rendered == one["text"].get<std::string>());
    } else {
      CHECK(!rendered.ok());
      if (one.contains("error")) {
        CHECK(rendered.status().message() == one["error"].get<std::string>());
      }
    }
  }
}

std::string render(std::string_view source, const Json& variables = Json::object()) {
  const Result<ChatTemplate> parsed = ChatTemplate::parse(source);
  if (!parsed.ok()) return parsed.status().message();
  const Result<std::string> text = parsed->render(variables);
  return text.ok() ? *text : text.status().message();
}

TEST_CASE("Jinja, IntegersThatDoNotFitAreErrors") {
  // Python has integers of any size here: the one deliberate difference.
  for (const char* expression :
       {"9223372036854775807 + 1", "-9223372036854775807 - 2", "9223372036854775807 * 2", "2 ** 63",
        "(-9223372036854775807 - 1) // -1", "-(-9223372036854775807 - 1)", "99999999999999999999",
        "'99999999999999999999' | int", "1e300 | int", "10 ** 400",
        "(-9223372036854775807 - 1) | abs", "[9223372036854775807, 1] | sum", "'%d' % 1e300",
        "9223372036854775806 | round(-19)"}) {
    CAPTURE(std::string(expression));
    const std::string text = render("{{ " + std::string(expression) + " }}");
    CAPTURE(text);
    CHECK(text.find("integer overflow") != std::string::npos);
  }
  CHECK(render("{{ 9223372036854775807 }} {{ -9223372036854775807 - 1 }} {{ 2 ** 62 }}") ==
        "9223372036854775807 -9223372036854775808 4611686018427387904");
  CHECK(render("{{ (-9223372036854775807 - 1) % -1 }}") == "0");
}

TEST_CASE("Jinja, SaysWhatIsNotSupported") {
  CHECK(render("{{ lipsum() }}").find("not supported") != std::string::npos);
  CHECK(render("{{ [1] | random }}").find("not supported") != std::string::npos);
  CHECK(render("{{ 'a'.encode() }}").find("not supported") != std::string::npos);
  CHECK(render("{{ 'a'.translate({}) }}").find("not supported") != std::string::npos);
  CHECK(render("{{ '{:{}}'.format(1, 2) }}").find("not supported") != std::string::npos);
}

TEST_CASE("Jinja, TreatsInvalidUtf8ByteByByte") {
  CHECK(render("a\xff{{ '\xffz' | length }}{{ '\xc3'[0] }}") ==
        "a\xff"
        "2\xc3");
  CHECK(render("{{ ['\x80'] }}{{ '\xed\xa0\x80' | length }}") == "['\\x80']3");
}

TEST_CASE("Jinja, DateConversionsMatchTheCLocale") {
  std::tm time{};
  time.tm_year = 126;
  time.tm_mon = 0;
  time.tm_mday = 4;
  time.tm_hour = 15;
  time.tm_min = 7;
  time.tm_sec = 9;
  time.tm_wday = 0;
  time.tm_yday = 3;
  for (const char* format :
       {"%a %A %b %B %h", "%c", "%C %d %D %e %F", "%H %I %j %m %M %p", "%r %R", "%S %T %u %U %w %W",
        "%x %X %y %Y %%%n%t", "plain", "%-d %-m %-H %-j"}) {
    char buffer[200];
    const std::size_t size = std::strftime(buffer, sizeof(buffer), format, &time);
    CHECK(format_time(format, time) == std::string(buffer, size));
  }
  CHECK(format_time("100%", time) == "100%");
  CHECK(format_time("%Q%-", time) == "%Q%-");
}

TEST_CASE("Jinja, LinearSearchAgreesWithTheLibrary") {
  std::uint32_t state = 1;
  const auto next = [&state](std::uint32_t bound) {
    state = state * 1664525U + 1013904223U;
    return (state >> 8) % bound;
  };
  int found = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (std::uint32_t n = next(300); n > 0; --n) text.push_back(next(12) == 0 ? 'b' : 'a');
    const std::size_t begin = next(static_cast<std::uint32_t>(text.size() + 1));
    std::string wanted = text.substr(begin, next(80));
    if (next(4) == 0) wanted.push_back('b');
    const std::size_t from = next(static_cast<std::uint32_t>(text.size() + 2));
    CHECK(find_first(text, wanted, from) == text.find(wanted, from));
    CHECK(find_last(text, wanted) == text.rfind(wanted));
    if (wanted.size() > 32 && text.find(wanted) != std::string::npos) ++found;
  }
  CHECK(found > 100);
}

TEST_CASE("Jinja, CountsCharacters") {
  CHECK(count_characters("a\xc3\xa9\xf0\x9f\x99\x82") == 3);
  CHECK(count_characters("\xff\xfe") == 2);
  CHECK(count_characters("\xe2\x82") == 2);          // cut short
  CHECK(count_characters("\xc0\x80") == 2);          // too long a form
  CHECK(count_characters("\xf4\x90\x80\x80") == 4);  // past U+10FFFF
  CHECK(offset_of("\xc3\xa9z", 1) == 2);
  CHECK(offset_of("ab", 9) == 2);
  CHECK(stripped("\xe3\x80\x80 a\xc2\xa0", Side::both) == "a");
  CHECK(stripped("xyaxy", "yx", Side::left) == "axy");
}

TEST_CASE("Jinja, ContextCountsMemory") {
  TemplateLimits limits;
  limits.value_bytes = 10'000;
  Context context(limits);
  for (int i = 0; i < 100; ++i) context.text(std::string(5000, 'a'));  // freed at once
  CHECK(!context.failed());
  const Value held = context.text(std::string(5000, 'a'));
  CHECK(!context.failed());
  context.text(std::string(5000, 'a'));
  CHECK(context.failed());
  CHECK(context.error().code() == Code::unsupported);
  CHECK(context.text("a").is_none());  // nothing is made after an error
}

TEST_CASE("Jinja, DictsKeepOrderAndReplace") {
  Context context{TemplateLimits{}};
  const auto integer = [](std::int64_t value) { return Value(value); };
  const Value dict = context.dict({{context.text("b"), integer(1)},
                                   {integer(1), integer(2)},
                                   {context.text("a"), integer(3)},
                                   {context.text("b"), integer(4)},
                                   {Value(true), integer(5)},
                                   {Value(), integer(6)}});
  REQUIRE(!context.failed());
  REQUIRE(dict.dict().items.size() == 4);
  CHECK(dict.dict().items[0].first.text().bytes == "b");
  CHECK(dict.dict().find("b")->integer() == 4);
  CHECK(dict.dict().find(Value(1.0))->integer() == 5);
  CHECK(dict.dict().find(Value())->integer() == 6);
  CHECK(dict.dict().find("c") == nullptr);
  CHECK(dict.dict().find(integer(2)) == nullptr);
  context.dict({{dict, integer(1)}});
  CHECK(context.error().message() == "unhashable type: 'dict'");
}

TEST_CASE("Jinja, NumbersCompareExactly") {
  const auto compare = [](auto a, auto b) { return compare_numbers(Value(a), Value(b)); };
  const std::int64_t large = (std::int64_t{1} << 53) + 1;
  CHECK(compare(large, 0x1.0p53) == 1);  // equal when both are rounded to double
  CHECK(compare(0x1.0p53, large) == -1);
  CHECK(compare(std::int64_t{-3}, -2.5) == -1);
  CHECK(compare(std::int64_t{-2}, -2.5) == 1);
  CHECK(compare(std::int64_t{2}, 2.0) == 0);
  CHECK(compare(std::int64_t{INT64_MAX}, 1e300) == -1);
  CHECK(compare(std::int64_t{INT64_MIN}, -1e300) == 1);
}

TEST_CASE("Jinja, LexerGivesTokensWithLines") {
  Lexer lexer("a\n{{ x }}\n  {%- if 'b\nc' %}\n");
  const std::pair<TokenKind, int> expected[] = {
      {TokenKind::data, 1},         {TokenKind::variable_begin, 2}, {TokenKind::name, 2},
      {TokenKind::variable_end, 2}, {TokenKind::block_begin, 3},    {TokenKind::name, 3},
      {TokenKind::text, 3},         {TokenKind::block_end, 4},      {TokenKind::end, 4},
      {TokenKind::end, 4}};
  for (const auto& [kind, line] : expected) {
    const Token token = lexer.next();
    CHECK(static_cast<int>(token.kind) == static_cast<int>(kind));
    CHECK(token.line == line);
  }
}

}  // namespace
}  // namespace runnel::jinja
