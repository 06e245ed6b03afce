// conformance [--backend NAME] [--filter TEXT] [--every N] [--threads N] [--matrix | --errors]
// Compares every compiled-in backend with `reference`, case by case. Besides, on every backend: a
// fused op equals its decomposition, and an op that may work in place gives the same result there.
// --every N runs every Nth case of each op and type, the first always.
// Exit code 1 when a case fails, 2 on a wrong command line, 77 when the machine cannot run what
// RUNNEL_CPU_ISA asks for.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/backend/registry.h"
#include "tests/conformance/compare.h"
#include "tests/conformance/report.h"

namespace runnel::conformance {
namespace {

struct Options {
  std::string backend, filter;
  int n_threads = 0, every = 1;
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
    else if (flag == "--every" && has_value)
      options.every = std::max(1, std::atoi(argv[++i]));
    else if (flag == "--threads" && has_value)
      options.n_threads = std::atoi(argv[++i]);
    else
      return false;
  }
  return true;
}

using Tensors = Result<std::vector<Tensor>>;

bool lacks_kernel(const Tensors& tensors) {
  return !tensors.ok() && tensors.status().code() == Code::unsupported;
}

/// One backend under test.
class Check {
 public:
  /// `limit_scale` 0 demands equal bits.
  Check(std::unique_ptr<Backend> backend, double limit_scale, Report& report)
      : backend_(std::move(backend)),
        limit_scale_(limit_scale),
        report_(report),
        name_(backend_->name()) {
    report.add_backend(name_);
  }

  const std::string& name() const { return name_; }

  void run(const Case& one, const CaseData& data, const Tensors& expected) {
    const OpSchema& row = schema(one.op);
    const auto got = run_case(*backend_, one, data, Form::plain);
    judge(one, "", got, expected);
    if (row.in_place)
      judge(one, " (in place)", run_case(*backend_, one, data, Form::in_place), expected);
    if (row.decompose != nullptr && got.ok())
      judge(one, " (fused == parts)", got, run_case(*backend_, one, data, Form::decomposed));
  }

 private:
  void judge(const Case& one, const char* what, const Tensors& got, const Tensors& expected) {
    if (lacks_kernel(got) || lacks_kernel(expected)) {
      report_.count(name_, one, Outcome::no_kernel, 0);
      return;
    }
    Difference difference;
    if (!expected.ok())
      difference.reason = "expected values: " + expected.status().message();
    else if (!got.ok())
      difference.reason = got.status().message();
    else
      difference = compare(*got, *expected, limit_scale_ * tolerance(one.op, one.dtype));
    const bool pass = difference.reason.empty();
    report_.count(name_, one, pass ? Outcome::pass : Outcome::fail, difference.error);
    if (!pass)
      std::fprintf(stderr, "FAIL %s: %s%s: %s\n", name_.c_str(), one.name.c_str(), what,
                   difference.reason.c_str());
  }

  std::unique_ptr<Backend> backend_;
  double limit_scale_;
  Report& report_;
  std::string name_;
};

/// The chosen backends that this machine has. ERRORS: not_found, what their creation reports.
Result<std::vector<Check>> make_checks(const Options& options, Report& report) {
  const std::span<const BackendInfo> infos = backend_registry();
  std::vector<Check> checks;
  bool found = false;
  for (const BackendInfo& info : infos) {
    if (!options.backend.empty() && options.backend != info.name) continue;
    found = true;
    // A software driver is tested when it is named; its results say nothing about a GPU.
    if (options.backend.empty() && info.chosen_by_itself != nullptr && !info.chosen_by_itself())
      continue;
    if (!info.available()) {
      std::fprintf(stderr, "%s: not available on this machine\n", std::string(info.name).c_str());
      continue;
    }
    BackendOptions backend_options;
    backend_options.n_threads = options.n_threads;
    RUNNEL_ASSIGN(auto backend, info.create(backend_options));
    // The reference equals itself in every form: its fused kernels share their parts' arithmetic.
    const bool is_reference = &info == &infos.back();
    checks.emplace_back(std::move(backend), is_reference ? 0.0 : 1.0, report);
  }
  if (!found) return Status(Code::not_found, "no backend is called " + options.backend);
  if (checks.empty()) return Status(Code::unsupported, "no such backend works on this machine");
  return checks;
}

int complain(const Status& status) {
  std::fprintf(stderr, "conformance: %s\n", status.message().c_str());
  return status.code() == Code::unsupported ? 77 : 2;
}

int run(const Options& options) {
  Report report;
  auto checks = make_checks(options, report);
  if (!checks.ok()) return complain(checks.status());
  auto reference = backend_registry().back().create({});
  if (!reference.ok()) return complain(reference.status());
  int n_cases = 0;
  std::map<std::pair<Op, DType>, int> n_seen;
  for (const Case& one : all_cases()) {
    if (one.name.find(options.filter) == std::string::npos) continue;
    if (n_seen[{one.op, one.dtype}]++ % options.every != 0) continue;
    ++n_cases;
    const CaseData data = make_data(one);
    const Tensors expected = run_case(**reference, one, data, Form::plain);
    for (Check& check : *checks) check.run(one, data, expected);
  }
  if (n_cases == 0) return complain({Code::not_found, "no case has " + options.filter});
  if (options.print == Options::Print::matrix) std::fputs(report.matrix().c_str(), stdout);
  if (options.print == Options::Print::errors)
    for (const Check& check : *checks) std::fputs(report.errors(check.name()).c_str(), stdout);
  const bool is_summary = options.print == Options::Print::summary;
  std::fprintf(is_summary ? stdout : stderr, "%s\n", report.closing_line().c_str());
  return report.n_failed() == 0 ? 0 : 1;
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
