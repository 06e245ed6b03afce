// conformance [--backend NAME] [--filter TEXT] [--every N] [--threads N] [--matrix | --errors]
// Compares every compiled-in backend with `reference` (suite.h).
// Exit code 1 when a case fails, 2 on a wrong command line, 77 when the machine cannot run what
// RUNNEL_CPU_ISA asks for.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/conformance/suite.h"

namespace runnel::conformance {
namespace {

struct Options {
  Suite suite;
  enum class Print { summary, matrix, errors } print = Print::summary;
};

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const bool has_value = i + 1 < argc;
    if (flag == "--matrix")
      options.print = Options::Print::matrix;
    else if (flag == "--errors")
      options.print = Options::Print::errors;
    else if (flag == "--backend" && has_value)
      options.suite.backend = argv[++i];
    else if (flag == "--filter" && has_value)
      options.suite.filter = argv[++i];
    else if (flag == "--every" && has_value)
      options.suite.every = std::max(1, std::atoi(argv[++i]));
    else if (flag == "--threads" && has_value)
      options.suite.n_threads = std::atoi(argv[++i]);
    else
      return false;
  }
  return true;
}

int run(const Options& options) {
  const Result<Report> report = run_suite(options.suite);
  if (!report.ok()) {
    std::fprintf(stderr, "conformance: %s\n", report.status().message().c_str());
    return report.status().code() == Code::unsupported ? 77 : 2;
  }
  if (options.print == Options::Print::matrix) std::fputs(report->matrix().c_str(), stdout);
  if (options.print == Options::Print::errors)
    for (const std::string& backend : report->backends())
      std::fputs(report->errors(backend).c_str(), stdout);
  const bool is_summary = options.print == Options::Print::summary;
  std::fprintf(is_summary ? stdout : stderr, "%s\n", report->closing_line().c_str());
  return report->n_failed() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace runnel::conformance

int main(int argc, char** argv) {
  runnel::conformance::Options options;
  if (!runnel::conformance::parse(argc, argv, options)) {
    std::fprintf(stderr,
                 "usage: conformance [--backend NAME] [--filter TEXT] [--every N] [--threads N] "
                 "[--matrix | --errors]\n");
    return 2;
  }
  return runnel::conformance::run(options);
}
