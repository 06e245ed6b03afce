#include "runtime/base/mapped_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <string_view>

#include "tests/unit/temp_dir.h"

namespace runnel {
namespace {

std::string_view text(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

MappedFile must_open(const std::string& path) {
  Result<MappedFile> file = MappedFile::open(path);
  REQUIRE(file.ok());
  return *std::move(file);
}

TEST_CASE("MappedFile, MapsTheWholeFile") {
  const test::TempDir dir;
  test::write_file(dir / "a", "hello\nworld");
  CHECK(text(must_open(dir / "a")) == "hello\nworld");
}

TEST_CASE("MappedFile, MapsAnEmptyFileToAnEmptySpan") {
  const test::TempDir dir;
  test::write_file(dir / "empty", "");
  CHECK(must_open(dir / "empty").bytes().empty());
}

TEST_CASE("MappedFile, SaysNotFound") {
  const test::TempDir dir;
  const Status missing = MappedFile::open(dir / "missing").status();
  CHECK(missing.code() == Code::not_found);
  CHECK(missing.message().find("missing") != std::string::npos);
  test::write_file(dir / "a", "x");
  CHECK(MappedFile::open(dir / "a/b").status().code() == Code::not_found);
}

TEST_CASE("MappedFile, RejectsWhatIsNoRegularFile") {
  const test::TempDir dir;
  CHECK(MappedFile::open(dir.path()).status().code() == Code::io);
  CHECK(MappedFile::open("/dev/null").status().code() == Code::io);
  REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
  CHECK(MappedFile::open(dir / "fifo").status().code() == Code::io);  // and does not wait for it
}

TEST_CASE("MappedFile, ViewsSurviveMovesAndRenamesOverTheFile") {
  const test::TempDir dir;
  test::write_file(dir / "a", "first");
  test::write_file(dir / "b", "second");
  MappedFile file = must_open(dir / "a");
  const std::string_view view = text(file);
  MappedFile moved = std::move(file);
  CHECK(file.bytes().empty());  // NOLINT(bugprone-use-after-move): that is the test
  std::filesystem::rename(dir / "b", dir / "a");
  CHECK(view == "first");
  moved = must_open(dir / "a");
  CHECK(text(moved) == "second");
  MappedFile& same = moved;
  moved = std::move(same);
  CHECK(text(moved) == "second");
}

}  // namespace
}  // namespace runnel
