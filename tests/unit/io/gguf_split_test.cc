#include "runtime/io/gguf_split.h"

#include <doctest/doctest.h>

#include "tests/unit/io/gguf_bytes.h"
#include "tests/unit/temp_dir.h"

namespace runnel {
namespace {

using test::GgufBytes;

/// Shard `index` of `count` with one f32 tensor of one value.
GgufBytes shard(std::uint16_t index, std::uint16_t count, std::string_view tensor, char fill) {
  GgufBytes bytes;
  if (index == 0) bytes.key("general.architecture", 8, test::text("lfm2"));
  bytes.key("split.no", 2, test::raw(index)).key("split.count", 2, test::raw(count));
  bytes.key("split.tensors.count", 5, test::raw(std::int32_t{count}));
  bytes.tensor(tensor, {1}, 0, 0);
  bytes.data = std::string(4, fill);
  return bytes;
}

constexpr std::string_view kNames[] = {"t0", "t1", "t2"};

/// Three shards of one tensor each, ready to be spoiled.
struct ThreeShards {
  ThreeShards() {
    for (std::uint16_t i = 0; i < 3; ++i)
      shards[i] = shard(i, 3, kNames[i], static_cast<char>('a' + i));
  }
  std::string path(int i) const {
    return dir / "m-0000" + std::to_string(i + 1) + "-of-00003.gguf";
  }
  Result<GgufFile> open(int i = 0) {
    for (int k = 0; k < 3; ++k) test::write_file(path(k), shards[k].build());
    return GgufFile::open(path(i));
  }
  /// Opening fails as corrupt and says `message` and which file.
  void check_corrupt(std::string_view message, std::string_view file_name) {
    const Status status = open().status();
    INFO(status.message());
    CHECK(status.code() == Code::corrupt);
    CHECK(status.message().find(message) != std::string::npos);
    CHECK(status.message().find(file_name) != std::string::npos);
  }
  test::TempDir dir;
  GgufBytes shards[3];
};

TEST_CASE("ShardName, TakesThePathApartAndBuildsSiblings") {
  const std::optional<ShardName> name = parse_shard_name("/m/lfm2-00002-of-00012.gguf");
  REQUIRE(name);
  CHECK(name->stem == "/m/lfm2");
  CHECK(name->index == 1);
  CHECK(name->count == 12);
  CHECK(name->path(0) == "/m/lfm2-00001-of-00012.gguf");
  CHECK(name->path(11) == "/m/lfm2-00012-of-00012.gguf");
  CHECK(parse_shard_name("-00001-of-00001.gguf")->stem.empty());
}

TEST_CASE("ShardName, RefusesOtherNames") {
  for (const char* path :
       {"", "model.gguf", "m-0001-of-0002.gguf", "m-00001-of-00002.bin", "m-00001-of-00002.ggml",
        "m-00000-of-00002.gguf", "m-00003-of-00002.gguf", "m-00001-of-00000.gguf",
        "m-0000a-of-00002.gguf", "m-0000:-of-00012.gguf", "m-00001-of-0000 .gguf",
        "m-00001-of-99999.gguf", "m_00001-of-00002.gguf", "m-00001_of_00002.gguf",
        "00001-of-00002.gguf"})
    CHECK_MESSAGE(!parse_shard_name(path), path);
}

TEST_CASE("GgufFile, JoinsShardsFromAnyOfThem") {
  ThreeShards model;
  for (int i = 0; i < 3; ++i) {
    const Result<GgufFile> file = model.open(i);
    REQUIRE(file.ok());
    REQUIRE(file->tensors().size() == 3);
    for (int k = 0; k < 3; ++k) {
      const GgufTensor* tensor = file->tensor(kNames[k]);
      REQUIRE(tensor != nullptr);
      CHECK(tensor->shard == k);
      CHECK(tensor->data[0] == static_cast<std::byte>('a' + k));
    }
    CHECK(**file->get_string("general.architecture") == "lfm2");
    CHECK(**file->get_int("split.no") == 0);  // keys of the first shard
    std::uint64_t bytes = 0;
    for (int k = 0; k < 3; ++k) bytes += std::filesystem::file_size(model.path(k));
    CHECK(file->file_bytes() == bytes);
  }
}

TEST_CASE("GgufFile, NamesTheMissingShard") {
  for (int missing = 0; missing < 3; ++missing) {
    ThreeShards model;
    REQUIRE(model.open().ok());
    std::filesystem::remove(model.path(missing));
    const Status status = GgufFile::open(model.path(missing == 0 ? 1 : 0)).status();
    INFO(status.message());
    CHECK(status.code() == Code::not_found);
    CHECK(status.message().find("shard " + std::to_string(missing + 1) + " of 3 is missing") == 0);
    CHECK(status.message().find(model.path(missing)) != std::string::npos);
  }
}

TEST_CASE("GgufFile, RefusesShardsThatDoNotBelongTogether") {
  {
    ThreeShards model;
    model.shards[1] = shard(1, 4, "t1", 'b');
    model.check_corrupt("'split.count': is 4, the file name says 3", "m-00002");
  }
  {
    ThreeShards model;
    model.shards[2] = shard(1, 3, "t2", 'c');
    model.check_corrupt("'split.no': is 1, the file name says 2", "m-00003");
  }
  {
    ThreeShards model;
    model.shards[1] = shard(1, 3, "t0", 'b');
    model.check_corrupt("tensor 't0': is in shard 1 and in shard 2", "m-00001");
  }
  {
    ThreeShards model;
    model.shards[2] = GgufBytes().tensor("t2", {1}, 0, 0);
    model.shards[2].data = "cccc";
    model.check_corrupt("'split.count': is 1, the file name says 3", "m-00003");
  }
  {
    ThreeShards model;
    model.shards[1].tensor("extra", {1}, 0, 32);
    model.shards[1].data.resize(36);
    model.check_corrupt("'split.tensors.count': is 3, the shards have 4", "m-00001");
  }
  {
    ThreeShards model;
    model.shards[1].data.clear();
    model.check_corrupt("tensor 't1': its data", "m-00002");
  }
}

TEST_CASE("GgufFile, RefusesHostileSplitKeys") {
  GgufBytes text;
  text.key("split.count", 8, test::text("3"));
  CHECK(GgufFile::own(text.build()).status().message() ==
        "key 'split.count': is string, expected an integer");
  GgufBytes negative;
  negative.key("split.no", 5, test::raw(-1));
  CHECK(GgufFile::own(negative.build()).status().code() == Code::corrupt);
  GgufBytes huge;
  huge.key("split.count", 10, test::u64(std::uint64_t{1} << 62));
  CHECK(GgufFile::own(huge.build()).status().code() == Code::unsupported);
}

TEST_CASE("GgufFile, RefusesAShardUnderAnotherName") {
  const test::TempDir dir;
  test::write_file(dir / "model.gguf", shard(0, 3, "t", 'a').build());
  const Status status = GgufFile::open(dir / "model.gguf").status();
  CHECK(status.code() == Code::unsupported);
  CHECK(status.message().find("one of 3 shards") != std::string::npos);
  CHECK(GgufFile::own(shard(0, 3, "t", 'a').build()).status().code() == Code::unsupported);
}

TEST_CASE("GgufFile, OpensASplitOfOne") {
  const test::TempDir dir;
  test::write_file(dir / "m-00001-of-00001.gguf", test::small_valid_gguf().build());
  CHECK(GgufFile::open(dir / "m-00001-of-00001.gguf").ok());
  GgufBytes merged = shard(0, 0, "t", 'a');  // what merging tools leave behind
  CHECK(GgufFile::own(merged.build()).ok());
}

}  // namespace
}  // namespace runnel
