#include "runtime/base/log.h"

#include <doctest/doctest.h>

#include <vector>

namespace runnel {
namespace {

TEST_CASE("Log, GivesWholeLinesUpToTheLevel") {
  std::vector<std::string> lines;
  const Log log([&](LogLevel, std::string_view line) { lines.emplace_back(line); }, LogLevel::warn);
  log(LogLevel::warn, "op=", "matmul", " n=", 3);
  log(LogLevel::info, "dropped");
  log(LogLevel::error, "e");
  CHECK(lines == std::vector<std::string>{"op=matmul n=3", "e"});
  CHECK_FALSE(log.enabled(LogLevel::debug));
}

TEST_CASE("Log, WithoutASinkDropsEverything") {
  const Log log;
  log(LogLevel::error, "nobody reads this");
  CHECK_FALSE(log.enabled(LogLevel::error));
}

}  // namespace
}  // namespace runnel
