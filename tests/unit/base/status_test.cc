#include "runtime/base/status.h"

#include <doctest/doctest.h>

#include <memory>

namespace runnel {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return Status(Code::invalid_argument, "odd");
  return value / 2;
}

Result<int> quarter(int value) {
  RUNNEL_ASSIGN(const int once, half(value));
  RUNNEL_ASSIGN(const int twice, half(once));
  return twice;
}

Status is_even(int value) {
  RUNNEL_TRY(half(value).status().with_context("is_even"));
  return {};
}

TEST_CASE("Status, DefaultIsOk") {
  CHECK(Status().ok());
  CHECK(Status().with_context("nothing").message().empty());
}

TEST_CASE("Status, ContextGoesInFront") {
  const Status status = Status(Code::corrupt, "bad").with_context("tensor").with_context("file");
  CHECK(status.code() == Code::corrupt);
  CHECK(status.message() == "file: tensor: bad");
}

TEST_CASE("Result, AssignReturnsTheFirstError") {
  CHECK(*quarter(12) == 3);
  CHECK(quarter(6).status().message() == "odd");
  CHECK(quarter(6).status().code() == Code::invalid_argument);
  CHECK(is_even(4).ok());
  CHECK(is_even(5).message() == "is_even: odd");
}

TEST_CASE("Result, HoldsMoveOnlyValues") {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(7);
  REQUIRE(result.ok());
  CHECK(result.status().ok());
  const std::unique_ptr<int> value = *std::move(result);
  CHECK(*value == 7);
}

}  // namespace
}  // namespace runnel
