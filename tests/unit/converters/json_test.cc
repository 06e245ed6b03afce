#include "converters/json.h"

#include <doctest/doctest.h>

#include <string>

using namespace runnel;
using namespace runnel::converters;

TEST_CASE("ParseJson bounds depth and number of values") {
  CHECK(parse_json(std::string(64, '[') + std::string(64, ']'), "x").ok());
  CHECK_FALSE(parse_json(std::string(65, '[') + std::string(65, ']'), "x").ok());
  CHECK_FALSE(parse_json(std::string(1'000'000, '['), "x").ok());
  std::string nested;
  for (int i = 0; i < 100'000; ++i) nested += "{\"a\":";
  CHECK_FALSE(parse_json(nested, "x").ok());
  CHECK_FALSE(parse_json("[" + std::string(4'000'001, ',') + "]", "x").ok());
  CHECK(parse_json(R"(["[[[[{{{{\"[[[[", "\\"])", "x").ok());  // brackets in strings do not count
}

TEST_CASE("ParseJson reports bad text without throwing") {
  for (const char* text : {"", "{", "{]", "nul", "[1,]", "{\"a\"}", "\"\\ud800\"", "\"\xff\"",
                           "1e999", "[1] x", "\"\x01\""}) {
    CAPTURE(text);
    const auto json = parse_json(text, "file.json");
    REQUIRE_FALSE(json.ok());
    CHECK(json.status().code() == Code::corrupt);
    CHECK(json.status().message().starts_with("file.json: "));
  }
}

TEST_CASE("ParseJson rejects repeated keys at the top only when asked") {
  const char* text = R"({"a":1,"b":{"c":1,"c":2},"a":2})";
  CHECK(parse_json(text, "x").ok());
  CHECK_FALSE(parse_json(text, "x", DuplicateKeys::reject_at_top).ok());
  CHECK(parse_json(R"({"b":{"c":1,"c":2}})", "x", DuplicateKeys::reject_at_top).ok());
}

TEST_CASE("Fields checks types and names the key") {
  const Json json = Json::parse(
      R"({"i":-3,"f":1.5,"b":true,"s":"t","n":null,"is":[1,2],"ss":["a"],"big":18446744073709551615,
          "o":{"x":1},"zero":0})");
  const auto fields = Fields::of(json, "c.json");
  REQUIRE(fields.ok());
  CHECK(**fields->get_int("i") == -3);
  CHECK(**fields->get_float("i") == -3.0);
  CHECK(**fields->get_float("f") == 1.5);
  CHECK(**fields->get_bool("b"));
  CHECK(**fields->get_string("s") == "t");
  CHECK((*fields->get_ints("is"))->size() == 2);
  CHECK((*fields->get_strings("ss"))->front() == "a");
  CHECK(**(*fields->get_object("o"))->get_int("x") == 1);
  CHECK_FALSE(fields->get_int("n")->has_value());
  CHECK_FALSE(fields->get_int("absent")->has_value());
  CHECK(fields->get_int("f").status().message() == "c.json: 'f' is not an integer");
  CHECK_FALSE(fields->get_int("big").ok());
  CHECK_FALSE(fields->get_int("b").ok());
  CHECK_FALSE(fields->get_float("s").ok());
  CHECK_FALSE(fields->get_bool("i").ok());
  CHECK_FALSE(fields->get_string("i").ok());
  CHECK_FALSE(fields->get_ints("ss").ok());
  CHECK_FALSE(fields->get_ints("i").ok());
  CHECK_FALSE(fields->get_strings("is").ok());
  CHECK_FALSE(fields->get_object("is").ok());
  CHECK_FALSE(fields->count_or("zero", 1).ok());
  CHECK_FALSE(fields->count_or("i", 1).ok());
  CHECK(*fields->count_or("absent", 7) == 7);
  CHECK_FALSE(fields->count_of({"absent", "n"}).ok());
  CHECK_FALSE(fields->positive_or("i", 1).ok());
  CHECK(*fields->positive_or("n", 2.5) == 2.5);
  CHECK_FALSE(Fields::of(Json::array(), "c.json").ok());
}

TEST_CASE("Fields falls back to the outer object") {
  const Json outer = Json::parse(R"({"a":1,"b":2})");
  const Json inner = Json::parse(R"({"a":3,"b":null})");
  const auto fields = Fields::of(inner, "c.json", &outer);
  CHECK(**fields->get_int("a") == 3);
  CHECK(**fields->get_int("b") == 2);
}
