// Typed access to metadata: no value is ever read as a type that it is not.
#include "runtime/io/gguf_values.h"

#include <doctest/doctest.h>

#include <limits>

#include "tests/unit/io/gguf_bytes.h"

namespace runnel {
namespace {

using test::array;
using test::GgufBytes;
using test::raw;

GgufFile must_own(const GgufBytes& file) {
  Result<GgufFile> opened = GgufFile::own(file.build());
  REQUIRE(opened.ok());
  return *std::move(opened);
}

/// Corrupt, and the message names the key.
void check_names(const Status& status, std::string_view key) {
  INFO(status.message());
  CHECK(status.code() == Code::corrupt);
  CHECK(status.message().find(std::string("key '") + std::string(key) + "'") == 0);
}

TEST_CASE("GgufValues, AcceptExactlyTheTypesOfTheTable") {
  struct Row {
    std::string_view key;
    bool is_int, is_float, is_bool, is_string, is_ints, is_floats, is_strings;
  };
  // Integers read as bool only when they are 0 or 1, which these are not.
  const Row rows[] = {
      {"general.architecture", false, false, false, true, false, false, true},
      {"k.u8", true, true, false, false, true, false, false},
      {"k.i8", true, true, false, false, true, false, false},
      {"k.u16", true, true, false, false, true, false, false},
      {"k.i16", true, true, false, false, true, false, false},
      {"k.u32", true, true, false, false, true, false, false},
      {"k.i32", true, true, false, false, true, false, false},
      {"k.f32", false, true, false, false, false, true, false},
      {"k.bool", true, false, true, false, true, false, false},
      {"k.u64", true, true, false, false, true, false, false},
      {"k.i64", true, true, false, false, true, false, false},
      {"k.f64", false, true, false, false, false, true, false},
      {"k.ints", false, false, false, false, true, false, false},
      {"k.floats", false, false, false, false, false, true, false},
      {"k.strings", false, false, false, false, false, false, true},
      {"k.nested", false, false, false, false, false, false, false},
  };
  const GgufFile file = must_own(test::small_valid_gguf());
  REQUIRE(std::size(rows) == file.keys().size());
  for (const Row& row : rows) {
    INFO(row.key);
    const auto expect = [&](const Status& status, bool accepted) {
      if (accepted)
        CHECK(status.ok());
      else
        check_names(status, row.key);
    };
    expect(file.get_int(row.key).status(), row.is_int);
    expect(file.get_float(row.key).status(), row.is_float);
    expect(file.get_bool(row.key).status(), row.is_bool);
    expect(file.get_string(row.key).status(), row.is_string);
    expect(file.get_ints(row.key).status(), row.is_ints);
    expect(file.get_floats(row.key).status(), row.is_floats);
    expect(file.get_strings(row.key).status(), row.is_strings);
  }
}

TEST_CASE("GgufValues, RefuseAByteArrayAsFloats") {
  GgufBytes bytes;
  bytes.key("tokenizer.ggml.scores", 9, array(0, 3, "abc"));
  const Status status = must_own(bytes).get_floats("tokenizer.ggml.scores").status();
  check_names(status, "tokenizer.ggml.scores");
  CHECK(status.message() ==
        "key 'tokenizer.ggml.scores': is array of u8, expected an array of floats");
}

TEST_CASE("GgufValues, RefuseIntegersOutOfRange") {
  constexpr std::uint64_t kTop = std::numeric_limits<std::int64_t>::max();
  GgufBytes bytes;
  bytes.key("top", 10, test::u64(kTop)).key("above", 10, test::u64(kTop + 1));
  bytes.key("array", 9, array(10, 2, test::u64(1) + test::u64(kTop + 1)));
  const GgufFile file = must_own(bytes);
  CHECK(**file.get_int("top") == std::numeric_limits<std::int64_t>::max());
  check_names(file.get_int("above").status(), "above");
  check_names(file.get_ints("array").status(), "array");
  check_names(file.get_bool("above").status(), "above");
  CHECK(**file.get_float("above") == 0x1p63);
}

TEST_CASE("GgufValues, ReadBoolsStrictly") {
  GgufBytes bytes;
  bytes.key("zero", 7, raw<std::uint8_t>(0)).key("two", 7, raw<std::uint8_t>(2));
  bytes.key("one", 4, test::u32(1)).key("minus", 5, raw(-1));
  bytes.key("flags", 9, array(7, 3, std::string("\1\0\1", 3)));
  bytes.key("bad_flags", 9, array(7, 2, "\1\3"));
  const GgufFile file = must_own(bytes);
  CHECK(**file.get_bool("zero") == false);
  CHECK(**file.get_bool("one") == true);
  check_names(file.get_bool("two").status(), "two");
  check_names(file.get_int("two").status(), "two");
  check_names(file.get_bool("minus").status(), "minus");
  CHECK(**file.get_ints("flags") == std::vector<std::int64_t>{1, 0, 1});
  check_names(file.get_ints("bad_flags").status(), "bad_flags");
}

TEST_CASE("GgufValues, ReadEmptyArraysAndStrings") {
  GgufBytes bytes;
  bytes.key("ints", 9, array(5, 0, "")).key("strings", 9, array(8, 0, ""));
  bytes.key("string", 8, test::text(""));
  const GgufFile file = must_own(bytes);
  CHECK((**file.get_ints("ints")).empty());
  CHECK((**file.get_strings("strings")).empty());
  CHECK(**file.get_string("string") == "");
  check_names(file.get_floats("ints").status(), "ints");
  check_names(file.get_ints("strings").status(), "strings");  // empty, and still no integers
  check_names(file.get_strings("ints").status(), "ints");
}

}  // namespace
}  // namespace runnel
