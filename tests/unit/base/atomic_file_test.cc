#include "runtime/base/atomic_file.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <string_view>

#include "tests/unit/temp_dir.h"

namespace runnel {
namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

AtomicFile must_create(const std::string& path) {
  Result<AtomicFile> file = AtomicFile::create(path);
  REQUIRE(file.ok());
  return *std::move(file);
}

mode_t mode_of(const std::string& path) {
  struct stat facts {};
  REQUIRE(::stat(path.c_str(), &facts) == 0);
  return facts.st_mode & 0777;
}

/// Lets writes fail with EFBIG beyond `limit` bytes of file for as long as it lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t limit) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit now{limit, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &now);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  void (*handler_)(int);
  rlimit before_{};
};

TEST_CASE("AtomicFile, AppearsOnlyAfterCommit") {
  const test::TempDir dir;
  AtomicFile file = must_create(dir / "out");
  REQUIRE(file.write(bytes("one ")).ok());
  REQUIRE(file.write(bytes("two")).ok());
  CHECK_FALSE(std::filesystem::exists(dir / "out"));
  CHECK(dir.size() == 1);  // the temporary file, in the same directory
  REQUIRE(file.commit().ok());
  CHECK(test::read_file(dir / "out") == "one two");
  CHECK(dir.size() == 1);
}

TEST_CASE("AtomicFile, KeepsTheOldContentUntilCommit") {
  const test::TempDir dir;
  test::write_file(dir / "out", "old");
  {
    AtomicFile file = must_create(dir / "out");
    REQUIRE(file.write(bytes("new")).ok());
    CHECK(test::read_file(dir / "out") == "old");
  }
  CHECK(test::read_file(dir / "out") == "old");
  CHECK(dir.size() == 1);  // the abandoned temporary file is gone
  AtomicFile file = must_create(dir / "out");
  REQUIRE(file.write(bytes("new")).ok());
  REQUIRE(file.commit().ok());
  CHECK(test::read_file(dir / "out") == "new");
}

TEST_CASE("AtomicFile, KeepsTheOrderOfSmallAndLargeWrites") {
  const test::TempDir dir;
  std::string expected;
  AtomicFile file = must_create(dir / "out");
  for (const std::size_t n : {1, 65535, 1, 65536, 0, 3, 65537, 200000, 7}) {
    const std::string piece(n, static_cast<char>('a' + expected.size() % 26));
    expected += piece;
    REQUIRE(file.write(bytes(piece)).ok());
  }
  REQUIRE(file.commit().ok());
  CHECK(test::read_file(dir / "out") == expected);
}

TEST_CASE("AtomicFile, WritesAnEmptyFile") {
  const test::TempDir dir;
  REQUIRE(must_create(dir / "out").commit().ok());
  CHECK(std::filesystem::file_size(dir / "out") == 0);
}

TEST_CASE("AtomicFile, RefusesUseAfterCommit") {
  const test::TempDir dir;
  AtomicFile file = must_create(dir / "out");
  REQUIRE(file.commit().ok());
  CHECK(file.commit().code() == Code::invalid_argument);
  CHECK(file.write(bytes("x")).code() == Code::invalid_argument);
  CHECK(test::read_file(dir / "out").empty());
  CHECK(AtomicFile().commit().code() == Code::invalid_argument);
}

TEST_CASE("AtomicFile, MovesCarryTheOpenFile") {
  const test::TempDir dir;
  AtomicFile first = must_create(dir / "a");
  REQUIRE(first.write(bytes("one ")).ok());
  AtomicFile second = std::move(first);
  CHECK(first.write(bytes("x")).code() == Code::invalid_argument);  // NOLINT: use after move
  REQUIRE(second.write(bytes("two")).ok());
  AtomicFile third = must_create(dir / "b");
  third = std::move(second);  // abandons "b"
  CHECK(dir.size() == 1);
  AtomicFile& same = third;
  third = std::move(same);
  REQUIRE(third.commit().ok());
  CHECK(test::read_file(dir / "a") == "one two");
  CHECK_FALSE(std::filesystem::exists(dir / "b"));
}

TEST_CASE("AtomicFile, TwoWritersOfOneTargetDoNotMeet") {
  const test::TempDir dir;
  AtomicFile first = must_create(dir / "out"), second = must_create(dir / "out");
  CHECK(dir.size() == 2);
  REQUIRE(first.write(bytes("first")).ok());
  REQUIRE(second.write(bytes("second")).ok());
  REQUIRE(second.commit().ok());
  REQUIRE(first.commit().ok());
  CHECK(test::read_file(dir / "out") == "first");
  CHECK(dir.size() == 1);
}

TEST_CASE("AtomicFile, RefusesImpossibleTargets") {
  const test::TempDir dir;
  CHECK(AtomicFile::create(dir / "no/such/dir/out").status().code() == Code::not_found);
  CHECK(AtomicFile::create(dir.path()).status().code() == Code::io);
  CHECK(AtomicFile::create(dir.path() + "/").status().code() == Code::io);
  CHECK(AtomicFile::create(dir / "new/").status().code() == Code::io);
  CHECK(AtomicFile::create("").status().code() == Code::io);
  CHECK(AtomicFile::create("/dev/null").status().code() == Code::io);
  CHECK(AtomicFile::create(dir / std::string(256, 'x')).status().code() == Code::io);
  CHECK(dir.size() == 0);
}

TEST_CASE("AtomicFile, AcceptsTheLongestFileName") {
  const test::TempDir dir;
  const std::string path = dir / std::string(255, 'x');
  REQUIRE(must_create(path).commit().ok());
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("AtomicFile, LeavesNothingWhenTheTargetBecomesADirectory") {
  const test::TempDir dir;
  AtomicFile file = must_create(dir / "out");
  REQUIRE(std::filesystem::create_directory(dir / "out"));
  CHECK(file.commit().code() == Code::io);
  CHECK(dir.size() == 1);
  CHECK(file.commit().code() == Code::invalid_argument);
}

TEST_CASE("AtomicFile, ReportsFailedWritesAndRemovesTheFile") {
  const test::TempDir dir;
  const FileSizeLimit limit(100000);
  AtomicFile direct = must_create(dir / "direct");
  const Status full = direct.write(bytes(std::string(200000, 'x')));  // short write, then an error
  CHECK(full.code() == Code::io);
  CHECK(full.message() == "cannot write " + (dir / "direct") + ": File too large");
  CHECK(direct.write(bytes("x")).code() == Code::invalid_argument);
  CHECK(direct.commit().code() == Code::invalid_argument);

  AtomicFile gathered = must_create(dir / "gathered");
  REQUIRE(gathered.write(bytes(std::string(60000, 'x'))).ok());
  REQUIRE(gathered.write(bytes(std::string(60000, 'x'))).ok());
  CHECK(gathered.commit().code() == Code::io);  // the second half was still in the buffer
  CHECK(dir.size() == 0);
}

TEST_CASE("AtomicFile, TakesModeFromTheTargetOrTheUmask") {
  const test::TempDir dir;
  const mode_t before = ::umask(027);
  REQUIRE(must_create(dir / "new").commit().ok());
  CHECK(mode_of(dir / "new") == 0640);
  test::write_file(dir / "old", "x");
  REQUIRE(::chmod((dir / "old").c_str(), 0606) == 0);
  REQUIRE(must_create(dir / "old").commit().ok());
  CHECK(mode_of(dir / "old") == 0606);
  ::umask(before);
}

TEST_CASE("AtomicFile, ReplacesASymbolicLinkAndNotWhatItNames") {
  const test::TempDir dir;
  test::write_file(dir / "real", "real");
  std::filesystem::create_symlink(dir / "real", dir / "link");
  AtomicFile file = must_create(dir / "link");
  REQUIRE(file.write(bytes("new")).ok());
  REQUIRE(file.commit().ok());
  CHECK(test::read_file(dir / "real") == "real");
  CHECK(test::read_file(dir / "link") == "new");
}

TEST_CASE("AtomicFile, WritesBesideABareName") {
  const test::TempDir dir;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(dir.path());
  AtomicFile file = must_create("out");
  CHECK(dir.size() == 1);
  CHECK(file.commit().ok());
  std::filesystem::current_path(before);
  CHECK(std::filesystem::exists(dir / "out"));
}

}  // namespace
}  // namespace runnel
