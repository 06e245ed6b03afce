#include "runtime/base/env.h"

#include <doctest/doctest.h>

#include <cstdlib>

namespace runnel {
namespace {

TEST_CASE("env, ReadsAVariableAndTreatsEmptyAsUnset") {
  REQUIRE(::setenv("RUNNEL_ENV_TEST", "value", 1) == 0);
  CHECK(env("RUNNEL_ENV_TEST") == "value");
  REQUIRE(::setenv("RUNNEL_ENV_TEST", "", 1) == 0);
  CHECK_FALSE(env("RUNNEL_ENV_TEST"));
  REQUIRE(::unsetenv("RUNNEL_ENV_TEST") == 0);
  CHECK_FALSE(env("RUNNEL_ENV_TEST"));
}

}  // namespace
}  // namespace runnel
