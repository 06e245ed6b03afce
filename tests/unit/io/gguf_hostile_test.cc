// One row per attack on a GGUF reader. SOURCE: the public reports named in `why`.
#include <doctest/doctest.h>

#include <functional>
#include <limits>

#include "runtime/io/gguf.h"
#include "runtime/io/gguf_limits.h"
#include "tests/unit/io/gguf_bytes.h"

namespace runnel {
namespace {

using test::array;
using test::GgufBytes;
using test::text;
using test::u32;
using test::u64;

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kTop = std::uint64_t{1} << 63;

struct Attack {
  std::string_view why;
  std::function<void(GgufBytes*)> make;  // starts from an empty image
  std::string_view message;              // what the error must say
  Code code = Code::corrupt;
};

void check_refused(const Attack& attack) {
  GgufBytes bytes;
  attack.make(&bytes);
  const Result<GgufFile> file = GgufFile::own(bytes.build());
  const Status status = file.status();
  INFO(attack.why, ": ", status.message());
  CHECK(status.code() == attack.code);
  CHECK(status.message().find(attack.message) != std::string::npos);
}

TEST_CASE("GgufFile, RefusesHostileCounts") {
  const Attack attacks[] = {
      {"CVE-2024-23605: n_kv", [](GgufBytes* b) { b->n_keys_claimed = kMax; },
       "header: 18446744073709551615 keys, at most"},
      {"n_kv * entry size wraps", [](GgufBytes* b) { b->n_keys_claimed = kMax / 13 + 1; },
       "keys, at most"},
      {"n_kv within the limit, beyond the file",
       [](GgufBytes* b) { b->n_keys_claimed = gguf_limits::kMaxKeys; }, "65536 keys do not fit"},
      {"one key more than there is", [](GgufBytes* b) { b->key("k", 0, "x").n_keys_claimed = 2; },
       "key 1: "},
      {"CVE-2024-21836: n_tensors", [](GgufBytes* b) { b->n_tensors_claimed = kMax; },
       "header: 18446744073709551615 tensors, at most"},
      {"n_tensors within the limit, beyond the file",
       [](GgufBytes* b) { b->n_tensors_claimed = gguf_limits::kMaxTensors; },
       "65536 tensors do not fit"},
      {"one tensor more than there is",
       [](GgufBytes* b) {
         b->tensor("t", {1}, 0, 0).n_tensors_claimed = 2;
         b->data.resize(64);
       },
       "tensor 1: "},
      {"int64 turns negative", [](GgufBytes* b) { b->n_keys_claimed = kTop; }, "keys, at most"},
  };
  for (const Attack& attack : attacks) check_refused(attack);
}

TEST_CASE("GgufFile, RefusesHostileKeys") {
  const auto raw_key = [](GgufBytes* b, const std::string& bytes) {
    b->keys += bytes + std::string(64, '\0');
    ++b->n_keys;
  };
  const Attack attacks[] = {
      {"CVE-2024-23496: key length wraps", [&](GgufBytes* b) { raw_key(b, u64(kMax)); },
       "key 0: name of 18446744073709551615 bytes"},
      {"key length beyond the file", [&](GgufBytes* b) { raw_key(b, u64(60000)); },
       "key 0: file ends inside its name"},
      {"key longer than the format allows",
       [](GgufBytes* b) { b->key(std::string(65536, 'k'), 0, "x"); }, "key 0: name of 65536 bytes"},
      {"empty key", [](GgufBytes* b) { b->key("", 0, "x"); }, "key 0: name of 0 bytes"},
      {"value type beyond the table", [](GgufBytes* b) { b->key("k", 13, u64(0)); },
       "key 'k': unknown value type 13"},
      {"value type as index wraps", [](GgufBytes* b) { b->key("k", 0xFFFFFFFF, u64(0)); },
       "key 'k': unknown value type 4294967295"},
      {"string length wraps", [](GgufBytes* b) { b->key("k", 8, u64(kMax) + "text"); },
       "key 'k': file ends inside its value"},
      {"string one byte beyond the file",
       [](GgufBytes* b) {
         b->pad_before_data = false;
         b->key("k", 8, u64(5) + "text");
       },
       "key 'k': file ends inside its value"},
      {"key twice", [](GgufBytes* b) { b->key("a", 0, "x").key("k", 0, "x").key("k", 4, u32(1)); },
       "key 'k': appears twice"},
      {"terminal escapes in a name", [](GgufBytes* b) { b->key("\x1b[2J", 99, ""); },
       "key '\\x1b[2J': unknown value type"},
  };
  for (const Attack& attack : attacks) check_refused(attack);
}

/// n arrays, each the only element of the one around it; the innermost is empty.
std::string nested(int depth) {
  std::string value = array(0, 0, "");
  for (int i = 1; i < depth; ++i) value = array(9, 1, value);
  return value;
}

TEST_CASE("GgufFile, RefusesHostileArrays") {
  const auto array_of = [](std::uint32_t type, std::uint64_t count) {
    return [=](GgufBytes* b) { b->key("k", 9, array(type, count, std::string(64, '\0'))); };
  };
  const Attack attacks[] = {
      {"count wraps", array_of(5, kMax), "key 'k': array of 18446744073709551615 elements"},
      {"count * 8 wraps to 8", array_of(10, kMax / 8 + 2), "key 'k': array of"},
      {"count * 4 wraps to 0", array_of(5, kTop / 2), "key 'k': array of"},
      {"limit of elements", array_of(0, gguf_limits::kMaxArrayElems + 1), "at most 16777216"},
      {"within the limit, beyond the file", array_of(5, 1000), "1000 elements does not fit"},
      {"more strings than bytes", array_of(8, 1000), "1000 elements does not fit"},
      {"unknown element type", array_of(13, 1), "key 'k': unknown array element type 13"},
      {"string in an array wraps",
       [](GgufBytes* b) { b->key("k", 9, array(8, 2, text("ok") + u64(kMax) + "   ")); },
       "key 'k': file ends inside string 1"},
      {"nesting", [](GgufBytes* b) { b->key("k", 9, nested(5)); }, "key 'k': arrays nested deeper"},
      {"deep nesting", [](GgufBytes* b) { b->key("k", 9, nested(5000)); },
       "key 'k': arrays nested deeper"},
      {"count of an inner array",
       [](GgufBytes* b) { b->key("k", 9, array(9, 1, array(5, kMax, "    "))); },
       "key 'k': array of 18446744073709551615 elements"},
      {"element type of an inner array",
       [](GgufBytes* b) { b->key("k", 9, array(9, 1, array(77, 0, ""))); },
       "key 'k': unknown array element type 77"},
  };
  for (const Attack& attack : attacks) check_refused(attack);

  GgufBytes deepest;
  deepest.key("k", 9, nested(4));
  CHECK(GgufFile::own(deepest.build()).ok());
}

TEST_CASE("GgufFile, RefusesHostileAlignments") {
  for (const std::uint32_t value : {0u, 1u, 4u, 7u, 24u, 33u, 65536u, 0x40000000u, 0x80000000u}) {
    check_refused({"alignment", [=](GgufBytes* b) { b->key("general.alignment", 4, u32(value)); },
                   "key 'general.alignment': "});
  }
  check_refused({"alignment as u64", [](GgufBytes* b) { b->key("general.alignment", 10, u64(32)); },
                 "key 'general.alignment': must be u32"});
  check_refused({"alignment as array",
                 [](GgufBytes* b) { b->key("general.alignment", 9, array(4, 1, u32(32))); },
                 "key 'general.alignment': must be u32"});
}

TEST_CASE("GgufFile, RefusesHostileShapes") {
  using Ne = std::initializer_list<std::uint64_t>;
  const auto tensor = [](Ne ne, std::uint32_t type) {
    const std::vector<std::uint64_t> dims(ne);
    return [=](GgufBytes* b) {
      std::string shape = u32(static_cast<std::uint32_t>(dims.size()));
      for (const std::uint64_t extent : dims) shape += u64(extent);
      b->tensors += text("t") + shape + u32(type) + u64(0);
      b->n_tensors = 1;
      b->data.resize(64);
    };
  };
  const Attack attacks[] = {
      {"zero dimension: division by zero", tensor({0}, 0), "tensor 't': dimension 0 is zero"},
      {"zero outer dimension", tensor({32, 0, 2}, 0), "tensor 't': dimension 1 is zero"},
      {"zero hides an overflow", tensor({kMax, kMax, 0}, 0), "tensor 't': "},
      {"product wraps to 0", tensor({kTop / 2, 4}, 0), "tensor 't': product of its dimensions"},
      {"product wraps to 1", tensor({kMax, kMax}, 0), "tensor 't': product of its dimensions"},
      {"four times 2^16", tensor({65536, 65536, 65536, 65536}, 0), "tensor 't': product"},
      {"negative as int64", tensor({kTop}, 0), "tensor 't': product of its dimensions"},
      {"elements fit, bytes do not: wraps to 0", tensor({kTop / 2}, 0),
       "tensor 't': its size in bytes overflows"},
      {"row fits, rows * row bytes wraps",
       tensor({std::uint64_t{1} << 32, std::uint64_t{1} << 30}, 0),
       "tensor 't': its size in bytes overflows"},
      {"rank", tensor({1, 1, 1, 1, 1}, 0), "tensor 't': 5 dimensions, at most 4"},
      {"row no multiple of 32", tensor({48}, 8), "tensor 't': row of 48 is no multiple of q8_0"},
      {"row no multiple of 256", tensor({32, 8}, 12), "tensor 't': row of 32"},
      {"row shorter than a block", tensor({1}, 2), "tensor 't': row of 1"},
      {"unknown type", tensor({1}, 999), "tensor 't': tensor type 999 (unknown)",
       Code::unsupported},
      {"known foreign type", tensor({256}, 16), "type 16 (iq2_xxs)", Code::unsupported},
      {"removed type", tensor({32}, 4), "type 4 (q4_2 (removed))", Code::unsupported},
      {"type as index wraps", tensor({1}, 0xFFFFFFFF), "type 4294967295", Code::unsupported},
  };
  for (const Attack& attack : attacks) check_refused(attack);

  check_refused({"rank wraps",
                 [](GgufBytes* b) {
                   b->tensors += text("t") + u32(0xFFFFFFFF) + u64(1) + u64(1);
                   b->n_tensors = 1;
                 },
                 "tensor 't': 4294967295 dimensions"});
}

TEST_CASE("GgufFile, RefusesHostileOffsets") {
  const auto tensor = [](std::uint64_t ne, std::uint64_t offset, std::size_t n_data) {
    return [=](GgufBytes* b) {
      b->tensor("t", {ne}, 0, offset);
      b->data.resize(n_data);
    };
  };
  const Attack attacks[] = {
      {"CVE-2026-7482: size beyond the file", tensor(17, 0, 64), "tensor 't': its data (68 bytes"},
      {"offset beyond the file", tensor(1, 64, 64), "tensor 't': its data (4 bytes at offset 64)"},
      {"offset + size beyond the file", tensor(9, 32, 64), "tensor 't': its data"},
      {"start + offset wraps", tensor(1, kMax - 31, 64), "tensor 't': its data"},
      {"start + offset + size wraps", tensor(40, kMax - 159, 64), "tensor 't': its data"},
      {"misaligned", tensor(1, 16, 64), "tensor 't': offset 16 is no multiple of 32"},
      {"no data at all", tensor(1, 0, 0), "tensor 't': its data"},
      {"aligned to another file's alignment",
       [](GgufBytes* b) {
         b->key("general.alignment", 4, u32(64)).tensor("t", {1}, 0, 32);
         b->alignment = 64;
         b->data.resize(64);
       },
       "tensor 't': offset 32 is no multiple of 64"},
      {"same data twice",
       [](GgufBytes* b) {
         b->tensor("a", {1}, 0, 0).tensor("b", {1}, 0, 0);
         b->data.resize(64);
       },
       "overlap"},
      {"partial overlap, unsorted",
       [](GgufBytes* b) {
         b->tensor("b", {8}, 0, 32).tensor("a", {9}, 0, 0);
         b->data.resize(64);
       },
       "tensors 'a' and 'b' overlap"},
  };
  for (const Attack& attack : attacks) check_refused(attack);
}

TEST_CASE("GgufFile, RefusesHostileTensorNames") {
  const auto tensors = [](std::initializer_list<std::string> list) {
    const std::vector<std::string> names(list);
    return [=](GgufBytes* b) {
      for (std::size_t i = 0; i < names.size(); ++i) b->tensor(names[i], {1}, 0, i * 32);
      b->data.resize(names.size() * 32);
    };
  };
  const Attack attacks[] = {
      {"empty", tensors({""}), "tensor 0: name of 0 bytes"},
      {"longer than 64", tensors({std::string(65, 't')}), "tensor 0: name of 65 bytes, at most 64"},
      {"twice", tensors({"a", "b", "a"}), "tensor 'a': appears twice"},
      {"length wraps",
       [](GgufBytes* b) {
         b->tensors += u64(kMax) + std::string(64, 't');
         b->n_tensors = 1;
       },
       "tensor 0: name of 18446744073709551615 bytes"},
  };
  for (const Attack& attack : attacks) check_refused(attack);

  GgufBytes longest;
  tensors({std::string(64, 't')})(&longest);
  CHECK(GgufFile::own(longest.build()).ok());
}

}  // namespace
}  // namespace runnel
