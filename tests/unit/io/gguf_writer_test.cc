#include "runtime/io/gguf_writer.h"

#include <doctest/doctest.h>

#include <array>
#include <cstring>

#include "tests/unit/io/gguf_bytes.h"
#include "tests/unit/temp_dir.h"

namespace runnel {
namespace {

using quant::DType;

std::vector<std::byte> pattern(std::size_t n, unsigned start) {
  std::vector<std::byte> bytes(n);
  for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(start + i * 7);
  return bytes;
}

/// Two tensors, one of which needs padding; a value of every kind that the writer offers.
void fill(GgufWriter* writer) {
  writer->set_string("general.architecture", "lfm2");
  writer->set_u32("u32", 4000000000u);
  writer->set_i32("i32", -5);
  writer->set_u64("u64", std::uint64_t{1} << 60);
  writer->set_f32("f32", 0.25f);
  writer->set_bool("yes", true);
  writer->set_bool("no", false);
  writer->set_i32s("i32s", std::array<std::int32_t, 3>{1, -2, 3});
  writer->set_f32s("f32s", std::array<float, 2>{0.5f, -1.0f});
  writer->set_strings("strings", std::array<std::string_view, 3>{"a", "", "b c"});
  writer->set_strings("none", {});
  REQUIRE(writer->add_tensor("a.weight", DType::q8_0, {3, 32}).ok());
  REQUIRE(writer->add_tensor("b.weight", DType::f16, {2, 3, 4, 5}).ok());
  REQUIRE(writer->add_tensor("c", DType::f32, {}).ok());
}

void write_data(GgufWriter* writer) {
  REQUIRE(writer->write(pattern(3 * 34, 1)).ok());
  const std::vector<std::byte> b = pattern(2 * 120, 2);
  REQUIRE(writer->write(std::span(b).first(100)).ok());  // in pieces
  REQUIRE(writer->write({}).ok());
  REQUIRE(writer->write(std::span(b).subspan(100)).ok());
  REQUIRE(writer->write(pattern(4, 3)).ok());
}

bool equal(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

void check_content(const GgufFile& file) {
  CHECK(file.version() == 3);
  REQUIRE(file.keys().size() == 11);
  CHECK(file.keys()[0].name == "general.architecture");
  CHECK(file.keys()[10].name == "none");
  CHECK(**file.get_string("general.architecture") == "lfm2");
  CHECK(**file.get_int("u32") == 4000000000);
  CHECK(**file.get_int("i32") == -5);
  CHECK(**file.get_int("u64") == std::int64_t{1} << 60);
  CHECK(**file.get_float("f32") == 0.25);
  CHECK(**file.get_bool("yes"));
  CHECK_FALSE(**file.get_bool("no"));
  CHECK(**file.get_ints("i32s") == std::vector<std::int64_t>{1, -2, 3});
  CHECK(**file.get_floats("f32s") == std::vector<double>{0.5, -1.0});
  CHECK(**file.get_strings("strings") == std::vector<std::string_view>{"a", "", "b c"});
  CHECK((**file.get_strings("none")).empty());
  CHECK(file.find("u32")->type == GgufType::u32);
  CHECK(file.find("i32")->type == GgufType::i32);
  CHECK(file.find("u64")->type == GgufType::u64);
  CHECK(file.find("f32")->type == GgufType::f32);
  CHECK(file.find("yes")->type == GgufType::boolean);
  CHECK(file.find("i32s")->element_type == GgufType::i32);
  CHECK(file.find("f32s")->element_type == GgufType::f32);

  REQUIRE(file.tensors().size() == 3);
  const GgufTensor &a = file.tensors()[0], &b = file.tensors()[1], &c = file.tensors()[2];
  CHECK(a.name == "a.weight");
  CHECK(a.dtype == DType::q8_0);
  CHECK(a.shape == Shape{3, 32});
  CHECK(equal(a.data, pattern(3 * 34, 1)));
  CHECK(b.shape == Shape{2, 3, 4, 5});
  CHECK(equal(b.data, pattern(2 * 120, 2)));
  CHECK(c.shape == Shape{});
  CHECK(equal(c.data, pattern(4, 3)));
}

GgufFile must_own(std::vector<std::byte> image) {
  Result<GgufFile> file = GgufFile::own(std::move(image));
  INFO(file.status().message());
  REQUIRE(file.ok());
  return *std::move(file);
}

TEST_CASE("GgufWriter, WritesAFileThatReadsBack") {
  const test::TempDir dir;
  GgufWriter writer;
  fill(&writer);
  REQUIRE(writer.begin_file(dir / "out.gguf").ok());
  write_data(&writer);
  CHECK_FALSE(std::filesystem::exists(dir / "out.gguf"));
  REQUIRE(writer.finish().ok());
  CHECK(writer.take_memory().empty());
  CHECK(dir.size() == 1);
  const Result<GgufFile> file = GgufFile::open(dir / "out.gguf");
  REQUIRE(file.ok());
  check_content(*file);
  CHECK(file->file_bytes() % 32 == 0);
}

TEST_CASE("GgufWriter, WritesTheSameToMemory") {
  const test::TempDir dir;
  GgufWriter to_memory, to_file;
  for (GgufWriter* writer : {&to_memory, &to_file}) {
    fill(writer);
    REQUIRE((writer == &to_memory ? writer->begin_memory() : writer->begin_file(dir / "f")).ok());
    write_data(writer);
    CHECK(writer->take_memory().empty());  // not finished
    REQUIRE(writer->finish().ok());
  }
  std::vector<std::byte> image = to_memory.take_memory();
  CHECK(to_memory.take_memory().empty());
  const std::string file = test::read_file(dir / "f");
  CHECK(equal(image, std::as_bytes(std::span(file))));
  check_content(must_own(std::move(image)));
}

TEST_CASE("GgufWriter, MatchesTheSpecificationByteForByte") {
  GgufWriter writer;
  writer.set_string("general.architecture", "x");
  writer.set_strings("s", std::array<std::string_view, 2>{"p", "qr"});
  writer.set_bool("b", true);
  REQUIRE(writer.add_tensor("t", DType::f32, {3, 2}).ok());
  REQUIRE(writer.add_tensor("u", DType::f16, {1}).ok());
  REQUIRE(writer.begin_memory().ok());
  REQUIRE(writer.write(test::to_bytes(std::string(24, 'T'))).ok());
  REQUIRE(writer.write(test::to_bytes("UU")).ok());
  REQUIRE(writer.finish().ok());

  test::GgufBytes expected;
  expected.key("general.architecture", 8, test::text("x"))
      .key("s", 9, test::array(8, 2, test::text("p") + test::text("qr")))
      .key("b", 7, "\1");
  expected.tensor("t", {2, 3}, 0, 0).tensor("u", {1}, 1, 32);
  expected.data = std::string(24, 'T') + std::string(8, '\0') + "UU" + std::string(30, '\0');
  CHECK(writer.take_memory() == expected.build());
}

TEST_CASE("GgufWriter, CopiesEntriesOfAnotherFileVerbatim") {
  test::GgufBytes source_bytes = test::small_valid_gguf();
  source_bytes.alignment = 64;
  source_bytes.key("general.alignment", 4, test::u32(64))
      .key("split.count", 2, std::string(2, '\0'));
  source_bytes.tensors.clear();
  source_bytes.n_tensors = 0;
  const GgufFile source = must_own(source_bytes.build());
  GgufWriter writer;
  for (const GgufKey& key : source.keys()) writer.set_raw(key);
  REQUIRE(writer.begin_memory().ok());
  REQUIRE(writer.finish().ok());
  const GgufFile copy = must_own(writer.take_memory());
  CHECK(copy.find("general.alignment") == nullptr);  // the layout of the source, not its content
  CHECK(copy.find("split.count") == nullptr);
  REQUIRE(copy.keys().size() == source.keys().size() - 2);
  for (std::size_t i = 0; i < copy.keys().size(); ++i) {
    const GgufKey &before = source.keys()[i], &after = copy.keys()[i];
    CHECK(before.name == after.name);
    CHECK(before.type == after.type);
    CHECK(before.element_type == after.element_type);
    CHECK(before.count == after.count);
    CHECK(equal(before.payload, after.payload));
  }
}

TEST_CASE("GgufWriter, ARepeatedKeyReplacesTheValueInItsPlace") {
  GgufWriter writer;
  writer.set_u32("a", 1);
  writer.set_u32("b", 2);
  writer.set_string("a", "new");
  REQUIRE(writer.begin_memory().ok());
  REQUIRE(writer.finish().ok());
  const GgufFile file = must_own(writer.take_memory());
  REQUIRE(file.keys().size() == 2);
  CHECK(file.keys()[0].name == "a");
  CHECK(**file.get_string("a") == "new");
}

TEST_CASE("GgufWriter, RefusesImpossibleTensors") {
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  GgufWriter writer;
  const auto code = [&](std::string_view name, DType dtype, const Shape& shape) {
    return writer.add_tensor(name, dtype, shape).code();
  };
  REQUIRE(code("taken", DType::f32, {1}) == Code::ok);
  CHECK(code("taken", DType::f32, {1}) == Code::invalid_argument);
  CHECK(code("", DType::f32, {1}) == Code::invalid_argument);
  CHECK(code(std::string(64, 'x'), DType::f32, {1}) == Code::invalid_argument);
  CHECK(code(std::string(63, 'x'), DType::f32, {1}) == Code::ok);
  CHECK(code("t", DType::f32, {0}) == Code::invalid_argument);
  CHECK(code("t", DType::f32, {2, -1}) == Code::invalid_argument);
  CHECK(code("t", DType::q8_0, {2, 33}) == Code::invalid_argument);
  CHECK(code("t", DType::q4_k, {32, 128}) == Code::invalid_argument);
  CHECK(code("t", DType::f32, {kHuge, 4}) == Code::invalid_argument);
  CHECK(code("t", DType::f32, {kHuge}) == Code::invalid_argument);
  CHECK(code("t", DType::f32, {kHuge / 4}) == Code::invalid_argument);  // with the others
  CHECK(code("t", DType::f32, {kHuge / 8}) == Code::ok);
  CHECK(code("u", DType::f32, {kHuge / 8}) == Code::invalid_argument);  // with the others
  const Status named = writer.add_tensor("bad", DType::f32, {0});
  CHECK(named.message().find("tensor 'bad': ") == 0);
}

TEST_CASE("GgufWriter, ReportsImpossibleMetadata") {
  const test::TempDir dir;
  GgufWriter empty, long_name, late;
  empty.set_u32("", 1);
  CHECK(empty.begin_file(dir / "out").code() == Code::invalid_argument);
  long_name.set_u32(std::string(65536, 'k'), 1);
  long_name.set_u32("fine", 1);
  CHECK(long_name.begin_memory().code() == Code::invalid_argument);
  REQUIRE(late.begin_file(dir / "out").ok());
  late.set_u32("late", 1);
  CHECK(late.add_tensor("t", DType::f32, {1}).code() == Code::invalid_argument);
  const Status status = late.finish();
  CHECK(status.code() == Code::invalid_argument);
  CHECK(status.message().find("key 'late'") == 0);
  CHECK(dir.size() == 0);
}

TEST_CASE("GgufWriter, DetectsMissingAndSurplusData") {
  const test::TempDir dir;
  for (const std::size_t n : {0, 7, 8, 15}) {
    GgufWriter writer;
    REQUIRE(writer.add_tensor("first", DType::f32, {2}).ok());
    REQUIRE(writer.add_tensor("second", DType::f32, {2}).ok());
    REQUIRE(writer.begin_file(dir / "out").ok());
    REQUIRE(writer.write(pattern(std::min<std::size_t>(n, 8), 0)).ok());
    if (n > 8) REQUIRE(writer.write(pattern(n - 8, 0)).ok());
    const Status status = writer.finish();
    CHECK(status.code() == Code::invalid_argument);
    CHECK(status.message().find(n < 8 ? "'first'" : "'second'") != std::string::npos);
    CHECK(dir.size() == 0);
    CHECK(writer.finish().code() == Code::invalid_argument);
  }
  GgufWriter surplus;
  REQUIRE(surplus.add_tensor("first", DType::f32, {2}).ok());
  REQUIRE(surplus.add_tensor("second", DType::f32, {2}).ok());
  REQUIRE(surplus.begin_memory().ok());
  const Status status = surplus.write(pattern(9, 0));
  CHECK(status.code() == Code::invalid_argument);
  CHECK(status.message().find("'first'") != std::string::npos);
  CHECK(surplus.finish().code() == Code::invalid_argument);  // stays failed
  CHECK(surplus.take_memory().empty());

  GgufWriter none;
  REQUIRE(none.begin_memory().ok());
  CHECK(none.write(pattern(1, 0)).code() == Code::invalid_argument);
}

TEST_CASE("GgufWriter, RefusesCallsInTheWrongOrder") {
  GgufWriter writer;
  CHECK(writer.write(pattern(1, 0)).code() == Code::invalid_argument);
  GgufWriter unfinished;
  CHECK(unfinished.finish().code() == Code::invalid_argument);
  GgufWriter twice;
  REQUIRE(twice.begin_memory().ok());
  CHECK(twice.begin_memory().code() == Code::invalid_argument);
  GgufWriter missing;
  CHECK(missing.begin_file("/no/such/directory/out.gguf").code() == Code::not_found);
}

TEST_CASE("GgufWriter, LeavesNothingWhenDestroyedOrReplaced") {
  const test::TempDir dir;
  {
    GgufWriter writer;
    fill(&writer);
    REQUIRE(writer.begin_file(dir / "out.gguf").ok());
    CHECK(dir.size() == 1);
  }
  CHECK(dir.size() == 0);
  GgufWriter first;
  fill(&first);
  REQUIRE(first.begin_file(dir / "a.gguf").ok());
  GgufWriter second = std::move(first);
  write_data(&second);
  REQUIRE(second.finish().ok());
  second = GgufWriter();
  CHECK(dir.size() == 1);
  CHECK(GgufFile::open(dir / "a.gguf").ok());
}

}  // namespace
}  // namespace runnel
