#include "runtime/base/os_error.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <string>

namespace runnel {

TEST_CASE("os_error, CodeFollowsTheNumberAndTheTextNamesTheFile") {
  CHECK(os_error("open", "a", ENOENT).code() == Code::not_found);
  CHECK(os_error("open", "a/b", ENOTDIR).code() == Code::not_found);
  CHECK(os_error("map", "a", ENOMEM).code() == Code::out_of_memory);
  CHECK(os_error("write", "a", ENOSPC).code() == Code::io);
  CHECK(os_error("open", "a", ENOENT).message() == "cannot open a: No such file or directory");
}

}  // namespace runnel
