// Where the time of steps goes: sums over nodes of the same op and weight format. Owned by the
// Engine while a profile is taken; used under its lock.
#pragma once
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "runtime/compile/plan.h"

namespace runnel {

/// Sums over all nodes of one class and all steps.
struct ProfileRow {
  std::string_view op;       // name of the op
  std::string_view weights;  // format of its matrices; empty without
  std::int64_t calls = 0;
  double seconds = 0;
  double bytes = 0;       // of weights, and of keys and values
  double operations = 0;  // of the weight products
};

struct ProfileReport {
  std::int64_t steps = 0, tokens = 0;
  double seconds = 0;            // of the whole steps, what lies between nodes included
  std::vector<ProfileRow> rows;  // longest first
};

class Profiler {
 public:
  Profiler() = default;
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  /// Before a step of `plan`, which must outlive this. ERRORS: unsupported, when a backend cannot
  /// time its nodes.
  Status watch(Plan& plan);
  /// After it.
  void count(const Plan& plan, const StepParams& params, double seconds);
  ProfileReport report() const;

 private:
  struct Watched {
    Plan* plan = nullptr;
    std::vector<std::int64_t> nanoseconds;  // [node]
    std::int64_t steps = 0, tokens = 0;
    std::int64_t keys = 0;  // sum over steps of the tokens that the last one sees
    double seconds = 0;
  };
  std::map<const Plan*, Watched> watched_;
};

}  // namespace runnel
