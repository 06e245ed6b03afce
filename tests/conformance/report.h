// Counts of outcomes, the support matrix and the closing line.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "tests/conformance/case.h"

namespace runnel::conformance {

enum class Outcome : std::uint8_t { pass, fail, no_kernel };

class Report {
 public:
  /// Columns of the matrix, in this order.
  void add_backend(const std::string& backend) { backends_.push_back(backend); }
  const std::vector<std::string>& backends() const { return backends_; }
  void count(const std::string& backend, const Case& one, Outcome outcome, double error);

  int n_failed() const { return total_.failed; }
  /// Cases per op and backend, and matrix products per weight type and backend, in Markdown.
  std::string matrix() const;
  /// Largest error of each op and type on one backend, beside its tolerance.
  std::string errors(const std::string& backend) const;
  /// "12 passed, 0 failed, 3 skipped"
  std::string closing_line() const;

 private:
  struct Counts {
    int passed = 0, failed = 0, no_kernel = 0;
    double error = 0;
    void add(Outcome outcome, double case_error);
  };
  using Key = std::pair<Op, DType>;
  static std::string cell(const Counts& counts);
  Counts sum(const std::string& backend, Op op, DType dtype) const;  // DType::count: all types

  std::vector<std::string> backends_;
  std::map<std::string, std::map<Key, Counts>> counts_;
  Counts total_;
};

}  // namespace runnel::conformance
