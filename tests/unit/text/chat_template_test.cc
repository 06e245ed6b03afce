// Golden cases, and hostile templates: whatever a file says, the answer is a text or an error.
#include "runtime/text/chat_template.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "tests/unit/text/test_data.h"

namespace runnel {
namespace {

using Json = nlohmann::ordered_json;

struct Outcome {
  Code code = Code::ok;
  std::string text;  // the rendered text, or the message of the error

  bool operator==(const Outcome&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
  return out << static_cast<int>(outcome.code) << ": " << outcome.text;
}

/// The usual limits without the clock: the outcome does not depend on the machine.
TemplateLimits patient() {
  TemplateLimits limits;
  limits.time = std::chrono::minutes(10);
  return limits;
}

Outcome render(std::string_view source,
               const Json& variables,
               const TemplateLimits& limits = patient()) {
  const Result<ChatTemplate> parsed = ChatTemplate::parse(source, limits);
  if (!parsed.ok()) return {parsed.status().code(), parsed.status().message()};
  const Result<std::string> text = parsed->render(variables);
  if (!text.ok()) return {text.status().code(), text.status().message()};
  return {Code::ok, *text};
}

std::string repeated(std::string_view piece, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += piece;
  return out;
}

TEST_CASE("ChatTemplate, GivesTheGoldenTextOfTheDemoTemplate") {
  const Json golden = test::read_data_json("golden_templates.json");
  const std::string source = test::read_data("templates/demo.jinja");
  REQUIRE(golden["chat"].size() == 14);
  for (Json one : golden["chat"]) {
    const auto text = one["text"].get<std::string>();
    one["bos_token"] = "<|startoftext|>";
    one["eos_token"] = "<|im_end|>";
    CHECK(render(source, one) == Outcome{Code::ok, text});
  }
}

TEST_CASE("ChatTemplate, GivesTheGoldenTextOfSmallTemplates") {
  const Json golden = test::read_data_json("golden_templates.json");
  REQUIRE(golden["jinja"].size() == 19);
  for (const Json& one : golden["jinja"]) {
    const auto source = one["template"].get<std::string>();
    CAPTURE(source);
    const Outcome outcome = render(source, one["vars"]);
    if (one.contains("text")) {
      CHECK(outcome == Outcome{Code::ok, one["text"].get<std::string>()});
    } else {
      CHECK(outcome == Outcome{Code::invalid_argument, one["error"].get<std::string>()});
    }
  }
}

TEST_CASE("ChatTemplate, NamesTheLineOfASyntaxError") {
  CHECK(render("a\n{% if x %}\nb\n{{ 1 + }}", {}).text ==
        "line 4: unexpected 'end of print "
        "statement'");
  CHECK(render("a\n{% if x %}\nb\n{{ 1 + }}", Json::object()).code == Code::corrupt);
  CHECK(render("\n\n{% include 'x' %}", {}) ==
        Outcome{Code::unsupported, "line 3: unknown tag 'include'"});
  CHECK(render("{% extends 'x' %}", {}).code == Code::unsupported);
  CHECK(render("{% import 'x' as y %}", {}).code == Code::unsupported);
}

TEST_CASE("ChatTemplate, RejectsVariablesThatAreNoObject") {
  CHECK(render("x", Json::array()).code == Code::invalid_argument);
  CHECK(render("x", Json()).code == Code::invalid_argument);
  CHECK(render("x", Json::object()) == Outcome{Code::ok, "x"});
  const Json large = {{"n", 18446744073709551615U}};
  CHECK(render("x", large).code == Code::invalid_argument);
  Json deep = Json::array();
  for (int i = 0; i < 500; ++i) deep = Json::array({deep});
  CHECK(render("x", Json{{"deep", deep}}).code == Code::unsupported);
}

TEST_CASE("ChatTemplate, CanBeRenderedAgainAndMoved") {
  Result<ChatTemplate> parsed = ChatTemplate::parse(
      "{% set ns = namespace(n=0) %}"
      "{% set ns.n = ns.n + x %}{{ ns.n }}");
  REQUIRE(parsed.ok());
  CHECK(*parsed->render({{"x", 1}}) == "1");
  ChatTemplate moved = *std::move(parsed);
  CHECK(*moved.render({{"x", 2}}) == "2");
}

TEST_CASE("ChatTemplate, ShowsTheDateOfToday") {
  const Outcome date =
      render("{{ strftime_now('%Y-%m-%d|%d %b %Y|%H:%M:%S|%-d|%%|%Q') }}", Json::object());
  REQUIRE(date.code == Code::ok);
  CHECK(date.text.size() >= 36);
  CHECK(date.text.substr(0, 2) == "20");
  CHECK(date.text.substr(date.text.size() - 5) == "|%|%Q");
}

TEST_CASE("ChatTemplate, LimitsNestingOfTheSource") {
  const std::pair<const char*, const char*> kPairs[] = {
      {"(", ")"},    {"[", "]"},    {"{1:", "}"},         {"f(", ")"},         {"x[", "]"},
      {"not ", ""},  {"-", ""},     {"1 if 1 else ", ""}, {"x|d(", ")"},       {"1 is eq(", ")"},
      {"f(a=", ")"}, {"1 if ", ""}, {"x[1:", "]"},        {"1 is eq x[", "]"}, {"x if (", ")"},
  };
  for (const auto& [open, close] : kPairs) {
    CAPTURE(std::string(open));
    for (const int levels : {6000, 100'000}) {
      const std::string inner = repeated(open, levels) + "1" + repeated(close, levels);
      const Outcome outcome = render("{{ " + inner + " }}", Json::object());
      CHECK((outcome.code == Code::unsupported || outcome.code == Code::corrupt));
      CHECK(render("{{ " + repeated(open, levels), Json::object()).code != Code::ok);
    }
  }
  const std::pair<const char*, const char*> kTags[] = {
      {"{% if 1 %}", "{% endif %}"},
      {"{% for x in [1] %}", "{% endfor %}"},
      {"{% set x %}", "{% endset %}"},
      {"{% macro f() %}", "{% endmacro %}"},
      {"{% filter upper %}", "{% endfilter %}"},
      {"{% with %}", "{% endwith %}"},
      {"{% call f() %}", "{% endcall %}"},
      {"{% if 0 %}{% else %}", "{% endif %}"},
      {"{% generation %}", "{% endgeneration %}"},
  };
  for (const auto& [open, close] : kTags) {
    CAPTURE(std::string(open));
    CHECK(render(repeated(open, 6000) + repeated(close, 6000), Json::object()).code ==
          Code::unsupported);
    CHECK(render(repeated(open, 6000), Json::object()).code == Code::unsupported);
    // The deepest nesting that is allowed runs as well.
    const Outcome deepest = render(repeated(open, 90) + repeated(close, 90), Json::object());
    CHECK((deepest.code == Code::ok || deepest.code == Code::invalid_argument));
  }
  CHECK(render("{% for " + repeated("(", 6000) + "x", Json::object()).code == Code::unsupported);
  CHECK(render("{{ " + repeated("(", 90) + "1" + repeated(")", 90) + " }}", Json::object()) ==
        Outcome{Code::ok, "1"});
}

TEST_CASE("ChatTemplate, RunsLongChains") {
  const auto renders = [](const std::string& expression) {
    return render("{{ " + expression + " }}", Json::object());
  };
  CHECK(renders("1" + repeated("+1", 20'000)).text == "20001");
  CHECK(renders("1" + repeated(" * 1", 20'000)).text == "1");
  CHECK(renders("1" + repeated("**1", 20'000)).text == "1");
  CHECK(renders("0" + repeated(" or 0", 20'000)).text == "0");
  CHECK(renders("1" + repeated(" and 1", 20'000)).text == "1");
  CHECK(renders("''" + repeated("~''", 20'000)).text.empty());
  CHECK(renders("1" + repeated(" == 1", 20'000)).text == "True");
  CHECK(renders("'a'" + repeated("|upper", 20'000)).text == "A");
  CHECK(renders("'a'" + repeated(".upper()", 20'000)).text == "A");
  CHECK(renders("'a'" + repeated("[0]", 20'000)).text == "a");
  CHECK(renders("a" + repeated(".b", 20'000)).text == "'a' is undefined");
  CHECK(renders("1" + repeated(" is number", 1) + repeated(" | int", 20'000)).text == "1");
  std::string branches = "{% if 0 %}a";
  branches += repeated("{% elif 0 %}b", 20'000) + "{% else %}c{% endif %}";
  CHECK(render(branches, Json::object()).text == "c");
}

struct Attack {
  const char* what;
  const char* source;
};

constexpr Attack kAttacks[] = {
    {"repeat", "{{ 'a' * 1000000000000 }}"},
    {"repeat a list", "{{ [1] * 100000000 }}"},
    {"repeat nothing", "{{ '' * 9223372036854775807 }}{{ 'a' * 1000000000 }}"},
    {"double",
     "{% set ns = namespace(s='a') %}{% for i in range(100) %}"
     "{% set ns.s = ns.s + ns.s %}{% endfor %}"},
    {"double a list",
     "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}"
     "{% set ns.s = ns.s + ns.s %}{% endfor %}"},
    {"share",
     "{% set ns = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(90) %}"
     "{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}"},
    {"share and compare",
     "{% set a = namespace(s=1) %}{% set b = namespace(s=1) %}"
     "{% for i in range(90) %}{% set a.s = [a.s, a.s] %}"
     "{% set b.s = [b.s, b.s] %}{% endfor %}{{ a.s == b.s }}"},
    {"share and dump",
     "{% set ns = namespace(s=1) %}{% for i in range(90) %}"
     "{% set ns.s = {'a': ns.s, 'b': ns.s} %}{% endfor %}{{ ns.s|tojson }}"},
    {"deep value",
     "{% set ns = namespace(s=1) %}{% for i in range(100000) %}"
     "{% set ns.s = [ns.s] %}{% endfor %}"},
    {"nested loops",
     "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}"
     "{% endfor %}"},
    {"output", "{% for a in range(100000) %}{{ 'a' * 100000 }}{% endfor %}"},
    {"capture",
     "{% set x %}{% for a in range(100000) %}{{ 'a' * 100000 }}{% endfor %}"
     "{% endset %}"},
    {"center", "{{ 'a'.center(1000000000000) }}"},
    {"center filter", "{{ 'a' | center(1000000000000) }}"},
    {"ljust", "{{ 'a'.ljust(1000000000) }}"},
    {"zfill", "{{ 'a'.zfill(9223372036854775807) }}"},
    {"percent width", "{{ '%99999999999999999999d' % 1 }}"},
    {"percent star", "{{ '%*d' % (999999999, 1) }}"},
    {"percent precision", "{{ '%.999999999f' % 1.5 }}"},
    {"percent digits", "{{ '%.999999999d' % 1 }}"},
    {"brace width", "{{ '{:99999999999999999999}'.format(1) }}"},
    {"brace precision", "{{ '{:.999999999f}'.format(1) }}"},
    {"indent", "{{ 'a\nb' | indent(1000000000000) }}"},
    {"indent json", "{{ [[1]] | tojson(indent=1000000000000) }}"},
    {"replace", "{{ ('a' * 1000000).replace('', 'b' * 1000000) }}"},
    {"replace filter", "{{ ('a' * 1000000) | replace('a', 'b' * 1000000) }}"},
    {"join", "{{ ('b' * 1000000).join(['a'] * 1000000) }}"},
    {"join filter", "{{ (['a'] * 1000000) | join('b' * 1000000) }}"},
    {"batch", "{{ [1] | batch(1000000000000, 'x') | list }}"},
    {"slice", "{{ [1] | slice(1000000000000, 'x') | list }}"},
    {"split", "{{ ('a' * 30000000).split('a') }}"},
    {"list of characters", "{{ ('a' * 30000000) | list }}"},
    {"sort",
     "{% for i in range(100000) %}"
     "{{ range(100000) | sort(reverse=true) | first }}{% endfor %}"},
    {"macro", "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}"},
    {"macro tree",
     "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}"
     "{% endmacro %}{{ f(60) }}"},
    {"two macros",
     "{% macro f() %}{{ ns.g() }}{% endmacro %}{% macro g() %}{{ f() }}"
     "{% endmacro %}{% set ns = namespace(g=g) %}{{ f() }}"},
    {"recursive loop", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"},
    {"caller",
     "{% macro f() %}{% if 0 %}{{ caller() }}{% endif %}{% call f() %}"
     "{% endcall %}{% endmacro %}{{ f() }}"},
    {"namespaces",
     "{% for i in range(100000) %}{% for j in range(100) %}"
     "{% set ns = namespace(a=namespace(b=1)) %}{% endfor %}{% endfor %}"},
    {"power",
     "{% for i in range(100000) %}{% for j in range(100000) %}{{ 3 ** 39 }}"
     "{% endfor %}{% endfor %}"},
    {"long search",
     "{% set a = 'a' * 10000000 %}{% for i in range(100000) %}"
     "{{ a.find('a' * 5000000 ~ 'b') }}{% endfor %}"},
    {"index",
     "{% set u = 'é' * 10000000 %}{% for i in range(100000) %}{{ u[9999999] }}"
     "{% endfor %}"},
};

TEST_CASE("ChatTemplate, StopsTemplatesThatTakeTooMuch") {
  TemplateLimits limits = patient();
  limits.steps = 1'000'000;  // keeps the test short
  for (const Attack& attack : kAttacks) {
    const Outcome outcome = render(attack.source, Json::object(), limits);
    CAPTURE(std::string(attack.what));
    CAPTURE(outcome.text);
    CHECK(outcome.code == Code::unsupported);
  }
}

TEST_CASE("ChatTemplate, AppliesEachLimitItIsGiven") {
  const auto with = [](auto change) {
    TemplateLimits limits = patient();
    change(limits);
    return limits;
  };
  const std::string loop = "{% for i in range(1000) %}{{ i }}{% endfor %}";
  REQUIRE(render(loop, Json::object()).code == Code::ok);
  const auto few_steps = with([](TemplateLimits& l) { l.steps = 500; });
  CHECK(render(loop, Json::object(), few_steps).text == "the template takes more than 500 steps");
  const auto short_output = with([](TemplateLimits& l) { l.output_bytes = 100; });
  CHECK(render(loop, Json::object(), short_output).text == "the output is larger than 100 bytes");
  const auto no_time = with([](TemplateLimits& l) { l.time = std::chrono::milliseconds(-1); });
  CHECK(render(loop, Json::object(), no_time).text == "the template takes more than -1 ms");
  const auto small_source = with([](TemplateLimits& l) { l.source_bytes = 10; });
  CHECK(render(loop, Json::object(), small_source).code == Code::unsupported);
  const auto little_memory = with([](TemplateLimits& l) { l.value_bytes = 5000; });
  CHECK(render(loop, Json::object(), little_memory).text ==
        "the template needs more than 5000 bytes of memory");
  const auto shallow = with([](TemplateLimits& l) { l.depth = 3; });
  CHECK(render("{{ ((((1)))) }}", Json::object(), shallow).code == Code::unsupported);
  CHECK(render("{{ (1) }}", Json::object(), shallow) == Outcome{Code::ok, "1"});
}

TEST_CASE("ChatTemplate, MemoryIsGivenBackWhileATemplateRuns") {
  // 1000 times 100 kB, one at a time: far more than the limit in sum.
  const Outcome outcome = render(
      "{% for i in range(1000) %}{% set x = 'a' * 100000 %}"
      "{% set y %}{{ x }}{% endset %}{% endfor %}done",
      Json::object());
  CHECK(outcome == Outcome{Code::ok, "done"});
}

TEST_CASE("ChatTemplate, CyclesOfNamespacesComeApart") {
  constexpr const char* kSources[] = {
      "{% set ns = namespace() %}{% set ns.ns = ns %}{% set ns.l = [ns] %}{{ ns }}",
      "{% set ns = namespace(a=none) %}{% for i in range(50000) %}"
      "{% set ns.a = namespace(b=ns.a) %}{% endfor %}{{ ns }}",
      "{% macro f() %}{{ f }}{% endmacro %}{% set ns = namespace(f=f) %}{{ f() }}",
      "{% for x in [1, 2] %}{{ loop.changed(loop) }}{% set l = loop %}{% endfor %}",
      "{% set ns = namespace() %}{% for x in [1] %}{% set ns.l = loop %}{% endfor %}"
      "{{ ns.l.index }}{{ ns.l.changed(ns.l) }}{{ ns.l.nextitem }}",
      "{% set ns = namespace() %}{% for x in [1, 2] recursive %}{% set ns.l = loop %}"
      "{% set y = loop %}{% endfor %}{{ ns.l }}",
  };
  for (const char* source : kSources) {
    CAPTURE(std::string(source));
    CHECK(render(source, Json::object()).code == Code::ok);
  }
  CHECK(render("{% set ns = namespace() %}{% for x in [1] recursive %}{% set ns.l = loop %}"
               "{% endfor %}{{ ns.l([1]) }}",
               Json::object())
            .code == Code::invalid_argument);
}

/// Templates whose parts are worth breaking, with variables that reach most of their branches.
void for_each_template(void (*check)(const std::string& source, const Json& variables)) {
  const Json sets = test::read_data_json("template_vars.json");
  REQUIRE(sets.is_object());
  for (const char* name : {"demo", "thinking_tools", "typed_macros", "inst_alternate"}) {
    check(test::read_data(std::string("templates/") + name + ".jinja"), sets["tool_round"]);
  }
}

TEST_CASE("ChatTemplate, SurvivesTruncationAtEveryByte") {
  for_each_template([](const std::string& source, const Json& variables) {
    for (std::size_t size = 0; size < source.size(); ++size) {
      const Outcome outcome = render(std::string_view(source).substr(0, size), variables);
      CHECK_MESSAGE(outcome.code != Code::internal, size);
    }
  });
}

TEST_CASE("ChatTemplate, SurvivesBitFlips") {
  for_each_template([](const std::string& source, const Json& variables) {
    std::mt19937 random(7);
    for (int round = 0; round < 800; ++round) {
      std::string broken = source;
      for (auto flips = 1 + random() % 3; flips > 0; --flips) {
        char& byte = broken[random() % broken.size()];
        byte = static_cast<char>(byte ^ (1 << (random() % 8)));
      }
      CHECK(render(broken, variables).code != Code::internal);
    }
  });
}

TEST_CASE("ChatTemplate, SurvivesShuffledPieces") {
  // Random sequences of what templates are made of: most are wrong in some way.
  constexpr const char* kPieces[] = {
      "{{",       "}}",    "{%",   "%}",     "{#",    "#}",      "-",         "+",      " if ",
      " for ",    " in ",  " x ",  " else ", " set ", " endif ", " endfor ",  " not ",  "(",
      ")",        "[",     "]",    "{",      "}",     ":",       ",",         ".",      "|",
      "'a'",      "1",     "2.5",  " is ",   "*",     "**",      "//",        "%",      "=",
      "==",       "~",     "\"",   "'",      "\\",    "\n",      " macro f",  " call ", " raw ",
      " endraw ", "upper", "\xff", "é",      "loop",  "range",   "namespace", "join",   "0x",
  };
  std::mt19937 random(11);
  const Json variables = {{"x", {1, "a", nullptr}}};
  for (int round = 0; round < 20'000; ++round) {
    std::string source = random() % 2 == 0 ? "{{ " : "{% ";
    for (auto n = 1 + random() % 12; n > 0; --n) source += kPieces[random() % std::size(kPieces)];
    source += source[1] == '{' ? " }}" : " %}";
    CHECK(render(source, variables).code != Code::internal);
  }
}

}  // namespace
}  // namespace runnel
