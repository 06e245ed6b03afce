// All cases on all chosen backends: what the test program and `runnel check` run.
#pragma once
#include <cstddef>
#include <functional>
#include <string>

#include "runtime/base/status.h"
#include "tests/conformance/report.h"

namespace runnel::conformance {

/// Which backends are compared with the reference, on which cases.
struct Suite {
  std::string backend;  // "": all that this machine has; a software driver only when named
  std::string filter;   // part of the names of the cases
  int n_threads = 0;    // of the CPU backend; 0 = performance cores
  int every = 1;        // run every Nth case of each op and type, the first always
  std::function<void(std::size_t done, std::size_t total)> progress;  // before each case, or null
};

/// Compares, case by case; what differs is said on stderr. Besides, on every backend: a fused op
/// equals its decomposition, and an op that may work in place gives the same result there.
/// ERRORS: not_found (no such backend or case), unsupported (the backend does not work here).
Result<Report> run_suite(const Suite& suite);

}  // namespace runnel::conformance
