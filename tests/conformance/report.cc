#include "tests/conformance/report.h"

#include <algorithm>
#include <sstream>

#include "tests/conformance/compare.h"

namespace runnel::conformance {

void Report::Counts::add(Outcome outcome, double case_error) {
  passed += outcome == Outcome::pass;
  failed += outcome == Outcome::fail;
  no_kernel += outcome == Outcome::no_kernel;
  error = std::max(error, case_error);
}

void Report::count(const std::string& backend, const Case& one, Outcome outcome, double error) {
  counts_[backend][{one.op, one.dtype}].add(outcome, error);
  total_.add(outcome, error);
}

Report::Counts Report::sum(const std::string& backend, Op op, DType dtype) const {
  Counts all;
  const auto found = counts_.find(backend);
  if (found == counts_.end()) return all;
  for (const auto& [key, counts] : found->second) {
    if (key.first != op || (dtype != DType::count && key.second != dtype)) continue;
    all.passed += counts.passed;
    all.failed += counts.failed;
    all.no_kernel += counts.no_kernel;
    all.error = std::max(all.error, counts.error);
  }
  return all;
}

std::string Report::cell(const Counts& counts) {
  const int all = counts.passed + counts.failed + counts.no_kernel;
  if (all == counts.no_kernel) return "no kernel";
  return std::to_string(counts.passed) + " of " + std::to_string(all) +
         (counts.failed ? " **(" + std::to_string(counts.failed) + " failed)**" : "");
}

std::string Report::matrix() const {
  std::string header, rule;
  for (const std::string& backend : backends_) {
    header += " " + backend + " |";
    rule += "---|";
  }
  std::string table = "| op |" + header + "\n|---|" + rule + "\n";
  for (int i = 0; i < static_cast<int>(Op::count); ++i) {
    const Op op = static_cast<Op>(i);
    table += "| " + std::string(schema(op).name) + " |";
    for (const std::string& backend : backends_)
      table += " " + cell(sum(backend, op, DType::count)) + " |";
    table += "\n";
  }
  table += "\n| matmul weights |" + header + "\n|---|" + rule + "\n";
  for (const quant::DTypeInfo& type : quant::kDTypes) {
    if (type.type == DType::i32) continue;
    table += "| " + std::string(type.name) + " |";
    for (const std::string& backend : backends_)
      table += " " + cell(sum(backend, Op::matmul, type.type)) + " |";
    table += "\n";
  }
  return table;
}

std::string Report::errors(const std::string& backend) const {
  std::ostringstream text;
  const auto found = counts_.find(backend);
  if (found == counts_.end()) return "";
  for (const auto& [key, counts] : found->second)
    text << backend << " " << schema(key.first).name << " " << quant::info(key.second).name
         << " error=" << counts.error << " tolerance=" << tolerance(key.first, key.second) << "\n";
  return text.str();
}

std::string Report::closing_line() const {
  return std::to_string(total_.passed) + " passed, " + std::to_string(total_.failed) + " failed, " +
         std::to_string(total_.no_kernel) + " skipped";
}

}  // namespace runnel::conformance
