#include "tests/conformance/suite.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/backend/registry.h"
#include "tests/conformance/compare.h"

namespace runnel::conformance {
namespace {

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
Result<std::vector<Check>> make_checks(const Suite& suite, Report& report) {
  const std::span<const BackendInfo> infos = backend_registry();
  std::vector<Check> checks;
  bool found = false;
  for (const BackendInfo& info : infos) {
    if (!suite.backend.empty() && suite.backend != info.name) continue;
    found = true;
    // A software driver is tested when it is named; its results say nothing about a GPU.
    if (suite.backend.empty() && info.chosen_by_itself != nullptr && !info.chosen_by_itself())
      continue;
    if (!info.available()) {
      std::fprintf(stderr, "%s: not available on this machine\n", std::string(info.name).c_str());
      continue;
    }
    BackendOptions backend_options;
    backend_options.n_threads = suite.n_threads;
    RUNNEL_ASSIGN(auto backend, info.create(backend_options));
    // The reference equals itself in every form: its fused kernels share their parts' arithmetic.
    const bool is_reference = &info == &infos.back();
    checks.emplace_back(std::move(backend), is_reference ? 0.0 : 1.0, report);
  }
  if (!found) return Status(Code::not_found, "no backend is called " + suite.backend);
  if (checks.empty()) return Status(Code::unsupported, "no such backend works on this machine");
  return checks;
}

/// The cases of all_cases() that the suite wants.
std::vector<Case> chosen_cases(const Suite& suite) {
  std::vector<Case> cases;
  std::map<std::pair<Op, DType>, int> n_seen;
  for (const Case& one : all_cases())
    if (one.name.find(suite.filter) != std::string::npos &&
        n_seen[{one.op, one.dtype}]++ % std::max(1, suite.every) == 0)
      cases.push_back(one);
  return cases;
}

}  // namespace

Result<Report> run_suite(const Suite& suite) {
  Report report;
  RUNNEL_ASSIGN(auto checks, make_checks(suite, report));
  RUNNEL_ASSIGN(auto reference, backend_registry().back().create({}));
  const std::vector<Case> cases = chosen_cases(suite);
  if (cases.empty()) return Status(Code::not_found, "no case has " + suite.filter);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (suite.progress) suite.progress(i, cases.size());
    const CaseData data = make_data(cases[i]);
    const Tensors expected = run_case(*reference, cases[i], data, Form::plain);
    for (Check& check : checks) check.run(cases[i], data, expected);
  }
  return report;
}

}  // namespace runnel::conformance
