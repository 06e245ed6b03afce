// A save that is killed at any moment leaves the old file or the new one.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <random>

#include "runtime/cache/session_file.h"
#include "tests/unit/cache/fixture.h"
#include "tests/unit/temp_dir.h"

namespace runnel::tests {

TEST_CASE("SessionFile: a hundred killed saves leave one of the two sessions whole") {
  const test::TempDir dir;
  const SessionExtras extras{1, {}, "note"};
  std::string contents[2];
  Fixture sessions[2] = {Fixture(3000), Fixture(3000)};
  for (unsigned i = 0; i < 2; ++i) {
    sessions[i].grow(i == 0 ? 900 : 2500);
    sessions[i].scribble(i);
    REQUIRE(save_session(dir / "s", *sessions[i].cache, extras).ok());
    contents[i] = test::read_file(dir / "s");
  }
  std::mt19937 random(1);
  int n_temporary = 0, n_seen[2] = {0, 0};
  for (int round = 0; round < 100; ++round) {
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (unsigned i = 0;; ++i) {
        if (!save_session(dir / "s", *sessions[i % 2].cache, extras).ok()) ::_exit(1);
        if (i == 0 && ::write(ready[1], "x", 1) != 1) ::_exit(1);
      }
    }
    char byte = 0;
    CHECK(::read(ready[0], &byte, 1) == 1);
    ::usleep(static_cast<useconds_t>(random() % 3000));
    ::kill(child, SIGKILL);
    int outcome = 0;
    ::waitpid(child, &outcome, 0);
    CHECK(WIFSIGNALED(outcome));
    ::close(ready[0]);
    ::close(ready[1]);
    const std::string now = test::read_file(dir / "s");
    CHECK((now == contents[0] || now == contents[1]));
    ++n_seen[now == contents[0] ? 0 : 1];
    for (const auto& entry : std::filesystem::directory_iterator(dir.path()))
      if (entry.path().filename() != "s") {
        ++n_temporary;
        std::filesystem::remove(entry.path());
      }
  }
  CHECK(n_temporary > 10);  // the killing did hit saves
  CHECK(n_seen[0] > 0);
  CHECK(n_seen[1] > 0);
}

}  // namespace runnel::tests
