#include "runtime/base/status.h"

#include <cstdio>
#include <cstdlib>

namespace runnel {

void check(bool condition, std::string_view what, const char* file, int line) {
  if (condition) [[likely]]
    return;
  std::fprintf(stderr, "%s:%d: check failed: %.*s\n", file, line, static_cast<int>(what.size()),
               what.data());
  std::abort();
}

}  // namespace runnel
