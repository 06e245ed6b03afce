// conformance [--backend NAME] [--filter TEXT] [--threads N] [--matrix | --errors]
// Compares every compiled-in backend with `reference`, case by case. Besides, on every backend: a
// fused op equals its decomposition, and an op that may work in place gives the same result there.
// Exit code 1 when a case fails, 2 on a wrong command line.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "runtime/backend/registry.h"
#include "tests/conformance/compare.h"
#include "tests/conformance/report.h"

namespace runnel::conformance {
namespace {

struct Options {
  std::string backend, filter;
  int n_threads = 0;
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
      options.backend = argv[++i];
    else if (flag == "--filter" && has_value)
      options.filter = argv[++i];
    else if (flag == "--threads" && has_value)
      options.n_threads = std::atoi(argv[++i]);
    else
      return false;
  }
  return true;
}

/// One backend under test, compared with the reference.
class Check {
 public:
  Check(Backend& backend, Backend& reference, Report& report)
      : backend_(backend), reference_(reference), report_(report), name_(backend.name()) {}

  void run(const Case& one) {
    const OpSchema& row = schema(one.op);
    const auto expected = run_case(reference_, one, Form::plain);
    compare_form(one, Form::plain, "", expected);
    if (row.in_place) compare_form(one, Form::in_place, " (in place)", expected);
    if (row.decompose == nullptr) return;
    if (const auto fused = run_case(backend_, one, Form::plain); fused.ok())
      compare_form(one, Form::decomposed, " (fused == decomposed)", fused);
  }

 private:
  void compare_form(const Case& one,
                    Form form,
                    const char* what,
                    const Result<std::vector<Tensor>>& expected) {
    const auto got = run_case(backend_, one, form);
    if (!got.ok() && got.status().code() == Code::unsupported) {
      report_.count(name_, one, Outcome::no_kernel, 0);
      return;
    }
    // The reference is equal to itself in every form: its fused kernels share the row arithmetic.
    const double limit = &backend_ == &reference_ ? 0 : tolerance(one.op, one.dtype);
    Difference difference;
    if (!expected.ok())
      difference.reason = "expected values: " + expected.status().message();
    else if (!got.ok())
      difference.reason = got.status().message();
    else
      difference = compare(*got, *expected, limit);
    const bool pass = difference.reason.empty();
    report_.count(name_, one, pass ? Outcome::pass : Outcome::fail, difference.error);
    if (!pass)
      std::fprintf(stderr, "FAIL %s: %s%s: %s\n", name_.c_str(), one.name.c_str(), what,
                   difference.reason.c_str());
  }

  Backend& backend_;
  Backend& reference_;
  Report& report_;
  std::string name_;
};

int run(const Options& options) {
  const std::span<const BackendInfo> infos = backend_registry();
  auto reference = infos.back().create({});
  if (!reference.ok()) return 1;
  const std::vector<Case> cases = all_cases();
  Report report;
  bool found = false;
  for (const BackendInfo& info : infos) {
    const std::string name(info.name);
    if (!options.backend.empty() && options.backend != name) continue;
    found = true;
    if (!info.available()) {
      std::fprintf(stderr, "%s: not available on this machine\n", name.c_str());
      continue;
    }
    BackendOptions backend_options;
    backend_options.n_threads = options.n_threads;
    auto made = info.create(backend_options);
    if (!made.ok()) {
      std::fprintf(stderr, "FAIL %s: %s\n", name.c_str(), made.status().message().c_str());
      return 1;
    }
    const bool is_reference = &info == &infos.back();
    Check check(is_reference ? **reference : **made, **reference, report);
    report.add_backend(name);
    for (const Case& one : cases)
      if (one.name.find(options.filter) != std::string::npos) check.run(one);
    if (options.print == Options::Print::errors) std::fputs(report.errors(name).c_str(), stdout);
  }
  if (!found) {
    std::fprintf(stderr, "no backend is called %s\n", options.backend.c_str());
    return 2;
  }
  const bool is_matrix = options.print == Options::Print::matrix;
  if (is_matrix) std::fputs(report.matrix().c_str(), stdout);
  std::fprintf(is_matrix ? stderr : stdout, "%s\n", report.closing_line().c_str());
  return report.n_failed() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace runnel::conformance

int main(int argc, char** argv) {
  runnel::conformance::Options options;
  if (!runnel::conformance::parse(argc, argv, options)) {
    std::fprintf(stderr,
                 "usage: conformance [--backend NAME] [--filter TEXT] [--threads N] "
                 "[--matrix | --errors]\n");
    return 2;
  }
  return runnel::conformance::run(options);
}
