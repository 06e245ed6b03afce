#include "runtime/io/gguf.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>

#include "tests/unit/io/gguf_bytes.h"
#include "tests/unit/temp_dir.h"

namespace runnel {
namespace {

using test::GgufBytes;

GgufFile must_own(const GgufBytes& file) {
  Result<GgufFile> opened = GgufFile::own(file.build());
  INFO(opened.status().message());
  REQUIRE(opened.ok());
  return *std::move(opened);
}

TEST_CASE("GgufFile, ReadsEveryScalarType") {
  const GgufFile file = must_own(test::small_valid_gguf());
  CHECK(**file.get_int("k.u8") == 200);
  CHECK(**file.get_int("k.i8") == -100);
  CHECK(**file.get_int("k.u16") == 60000);
  CHECK(**file.get_int("k.i16") == -30000);
  CHECK(**file.get_int("k.u32") == 4000000000);
  CHECK(**file.get_int("k.i32") == -2000000000);
  CHECK(**file.get_int("k.bool") == 1);
  CHECK(**file.get_int("k.u64") == std::int64_t{1} << 40);
  CHECK(**file.get_int("k.i64") == -(std::int64_t{1} << 40));
  CHECK(**file.get_float("k.f32") == 1.5);
  CHECK(**file.get_float("k.f64") == 0.1);
  CHECK(**file.get_float("k.i32") == -2000000000.0);
  CHECK(**file.get_bool("k.bool") == true);
  CHECK(**file.get_string("general.architecture") == "lfm2");
}

TEST_CASE("GgufFile, ReadsArrays") {
  const GgufFile file = must_own(test::small_valid_gguf());
  CHECK(**file.get_ints("k.ints") == std::vector<std::int64_t>{7, -8, 9});
  CHECK(**file.get_floats("k.floats") == std::vector<double>{0.5, -2.0});
  CHECK(**file.get_strings("k.strings") == std::vector<std::string_view>{"a", "", "bc"});
  CHECK(file.find("k.nested")->element_type == GgufType::array);
  CHECK(file.find("k.nested")->count == 2);
}

TEST_CASE("GgufFile, ReadsScalarsAsArraysOfOne") {
  const GgufFile file = must_own(test::small_valid_gguf());
  CHECK(**file.get_ints("k.u8") == std::vector<std::int64_t>{200});
  CHECK(**file.get_floats("k.f32") == std::vector<double>{1.5});
  CHECK(**file.get_strings("general.architecture") == std::vector<std::string_view>{"lfm2"});
}

TEST_CASE("GgufFile, KeepsFileOrderAndFindsByName") {
  const GgufFile file = must_own(test::small_valid_gguf());
  REQUIRE(file.keys().size() == 16);
  CHECK(file.keys()[0].name == "general.architecture");
  CHECK(file.keys()[15].name == "k.nested");
  for (const GgufKey& key : file.keys()) CHECK(file.find(key.name) == &key);
  for (const GgufTensor& tensor : file.tensors()) CHECK(file.tensor(tensor.name) == &tensor);
  CHECK(file.find("absent") == nullptr);
  CHECK(file.tensor("absent") == nullptr);
}

TEST_CASE("GgufFile, AbsentKeysAreNoError") {
  const GgufFile file = must_own(test::small_valid_gguf());
  CHECK_FALSE((*file.get_int("no")).has_value());
  CHECK_FALSE((*file.get_float("no")).has_value());
  CHECK_FALSE((*file.get_bool("no")).has_value());
  CHECK_FALSE((*file.get_string("no")).has_value());
  CHECK_FALSE((*file.get_ints("no")).has_value());
  CHECK_FALSE((*file.get_floats("no")).has_value());
  CHECK_FALSE((*file.get_strings("no")).has_value());
}

TEST_CASE("GgufFile, ReadsTensorsOutermostDimensionFirst") {
  const GgufFile file = must_own(test::small_valid_gguf());
  REQUIRE(file.tensors().size() == 3);
  const GgufTensor* a = file.tensor("a.weight");
  CHECK(a->shape == Shape{3, 2});
  CHECK(a->dtype == quant::DType::f32);
  CHECK(a->data.size() == 24);
  CHECK(a->data[23] == std::byte{23});
  const GgufTensor* b = file.tensor("b.weight");
  CHECK(b->shape == Shape{2, 32});
  CHECK(b->dtype == quant::DType::q8_0);
  CHECK(b->data.size() == 2 * 34);
  CHECK(b->data[0] == std::byte{32});
  CHECK(b->shard == 0);
  CHECK(file.tensor("c.bias")->data[0] == std::byte{128});
}

TEST_CASE("GgufFile, ReadsEveryTensorTypeOfTheTable") {
  GgufBytes bytes;
  std::uint64_t offset = 0;
  for (const quant::DTypeInfo& row : quant::kDTypes) {
    bytes.tensor(row.name, {512, 3}, row.gguf_id, offset);
    offset += (quant::row_bytes(row.type, 512) * 3 + 31) / 32 * 32;
  }
  bytes.data.resize(offset);
  const GgufFile file = must_own(bytes);
  for (const quant::DTypeInfo& row : quant::kDTypes) {
    REQUIRE(file.tensor(row.name) != nullptr);
    CHECK(file.tensor(row.name)->dtype == row.type);
    CHECK(file.tensor(row.name)->data.size() == 3 * quant::row_bytes(row.type, 512));
  }
}

TEST_CASE("GgufFile, ReadsVersionTwo") {
  GgufBytes bytes = test::small_valid_gguf();
  CHECK(must_own(bytes).version() == 3);
  bytes.version = 2;
  const GgufFile file = must_own(bytes);
  CHECK(file.version() == 2);
  CHECK(**file.get_string("general.architecture") == "lfm2");
  CHECK(file.tensors().size() == 3);
}

TEST_CASE("GgufFile, RefusesOtherVersionsAndByteOrders") {
  struct Case {
    std::string magic;
    std::uint32_t version;
    Code code;
    std::string_view message;
  };
  const Case cases[] = {{"GGUF", 1, Code::unsupported, "version 1"},
                        {"GGUF", 0, Code::unsupported, "version 0"},
                        {"GGUF", 4, Code::unsupported, "version 4"},
                        {"GGUF", 0x03000000, Code::unsupported, "big-endian"},
                        {"GGUF", 0x02000000, Code::unsupported, "big-endian"},
                        {"FUGG", 0x03000000, Code::unsupported, "big-endian"},
                        {"GGML", 3, Code::corrupt, "not a GGUF file"},
                        {std::string(4, '\0'), 3, Code::corrupt, "not a GGUF file"}};
  for (const Case& c : cases) {
    GgufBytes bytes = test::small_valid_gguf();
    bytes.magic = c.magic;
    bytes.version = c.version;
    const Status status = GgufFile::own(bytes.build()).status();
    CHECK(status.code() == c.code);
    CHECK(status.message().find(c.message) != std::string::npos);
  }
}

TEST_CASE("GgufFile, HonoursTheAlignmentKey") {
  for (const std::uint32_t alignment : {8u, 64u, 32768u}) {
    GgufBytes bytes;
    bytes.alignment = alignment;
    bytes.key("general.alignment", 4, test::u32(alignment));
    bytes.tensor("a", {1}, 0, 0).tensor("b", {1}, 0, alignment);
    bytes.data = "aaaa" + std::string(alignment - 4, '\0') + "bbbb";
    const GgufFile file = must_own(bytes);
    CHECK(file.tensor("a")->data[0] == std::byte{'a'});
    CHECK(file.tensor("b")->data[0] == std::byte{'b'});
  }
}

TEST_CASE("GgufFile, AcceptsScalarsGapsAnyOrderAndNoTensors") {
  GgufBytes bytes;
  bytes.tensor("scalar", {}, 0, 64).tensor("first", {1}, 0, 0);
  bytes.data.resize(68);
  const GgufFile file = must_own(bytes);
  CHECK(file.tensor("scalar")->shape == Shape{});
  CHECK(file.tensor("scalar")->data.size() == 4);
  CHECK(must_own(GgufBytes()).tensors().empty());
  GgufBytes unpadded;  // a file without tensors may end right after its keys
  unpadded.pad_before_data = false;
  CHECK(must_own(unpadded.key("k", 0, "x")).keys().size() == 1);
}

TEST_CASE("GgufFile, ParsesBorrowedImages") {
  const std::vector<std::byte> image = test::small_valid_gguf().build();
  const Result<GgufFile> file = GgufFile::parse(image);
  REQUIRE(file.ok());
  CHECK(file->file_bytes() == image.size());
  CHECK(file->tensor("c.bias")->data.data() == image.data() + image.size() - 32);
  const auto shifted = std::span(image).subspan(1);
  CHECK(GgufFile::parse(shifted).status().code() == Code::invalid_argument);
  CHECK(GgufFile::parse({}).status().code() == Code::corrupt);
}

TEST_CASE("GgufFile, OpensFilesAndNamesThemInErrors") {
  const test::TempDir dir;
  const std::vector<std::byte> image = test::small_valid_gguf().build();
  test::write_file(dir / "model.gguf", image);
  Result<GgufFile> opened = GgufFile::open(dir / "model.gguf");
  REQUIRE(opened.ok());
  const std::string_view view = opened->tensors()[0].name;
  GgufFile copy;
  {
    const GgufFile moved = *std::move(opened);
    copy = moved;  // shares the map, which outlives `moved`
  }
  CHECK(view == "a.weight");
  CHECK(copy.file_bytes() == image.size());

  CHECK(GgufFile::open(dir / "absent.gguf").status().code() == Code::not_found);
  CHECK(GgufFile::open(dir.path()).status().code() == Code::io);
  test::write_file(dir / "bad.gguf", "GGUF");
  test::write_file(dir / "empty.gguf", "");
  for (const char* name : {"bad.gguf", "empty.gguf"}) {
    const Status status = GgufFile::open(dir / name).status();
    CHECK(status.code() == Code::corrupt);
    CHECK(status.message().find(name) != std::string::npos);
  }
}

TEST_CASE("GgufFile, ReadsTensorsBeyondFourGibibytes") {
  const test::TempDir dir;
  const std::uint64_t big = std::uint64_t{5} << 30;
  GgufBytes bytes;
  bytes.tensor("big", {big / 4}, 0, 0).tensor("after", {1}, 0, big);
  const std::vector<std::byte> header = bytes.build();
  test::write_file(dir / "big.gguf", header);
  // A file with a hole: takes no disk space.
  const auto size = static_cast<off_t>(header.size() + big + 4);
  REQUIRE(::truncate((dir / "big.gguf").c_str(), size) == 0);
  const Result<GgufFile> file = GgufFile::open(dir / "big.gguf");
  REQUIRE(file.ok());
  CHECK(file->tensor("big")->data.size() == big);
  CHECK(file->tensor("after")->data.size() == 4);
  CHECK(file->tensor("after")->data[3] == std::byte{0});
  REQUIRE(::truncate((dir / "big.gguf").c_str(), size - 1) == 0);
  CHECK(GgufFile::open(dir / "big.gguf").status().code() == Code::corrupt);
}

}  // namespace
}  // namespace runnel
