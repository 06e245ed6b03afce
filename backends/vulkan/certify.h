// Certification: before a kernel row is used on a device for the first time, a small product or
// attention with a known answer runs through exactly the pipelines that the plan will use. A row
// that answers wrongly, or did not come back the last time, is passed over: the next row of the
// table that matches takes its place. Products are tested when a plan that has them is compiled,
// attention when a plan is laid out. Verdicts are kept on disk per device, driver and set of
// shaders. Rows of ops that have one kernel only are not asked. One thread at a time.
#pragma once
#include <functional>
#include <map>
#include <string>

#include "backends/vulkan/executable.h"

namespace runnel::vulkan {

struct KnownAnswer;
struct Placed;

class Certifier {
 public:
  /// `backend` is the one whose rows are tested; it makes the buffers. Both outlive the Certifier.
  Certifier(Backend& backend, Machine& machine, Log log);
  /// Whether `row` may run `node`; tests it when nobody has.
  bool trusts(const Row& row, const Graph& graph, const Node& node);
  /// The same, but rows that nobody has tested get the benefit of the doubt: nothing is compiled.
  bool hopes(const Row& row, const Graph& graph, const Node& node) const;
  /// Plans the steps of a small segment as those of any other.
  using Plan = std::function<Result<StepPlan>(const Graph&, const Segment&)>;
  /// Whether `nodes` (step_plan.h says which) may run as one dispatch, under the name "conv" or
  /// "attention step"; tests it, with what `plan` makes of them, when nobody has.
  bool trusts_fused(const Graph& graph, std::span<const Node> nodes, const Plan& plan);
  /// The node's dispatches; those of the row that RUNNEL_VULKAN_BREAK names are made wrong on
  /// purpose: for tests.
  Result<Step> prepare(const Row& row,
                       const Graph& graph,
                       const Node& node,
                       std::span<const BufferView> bindings) const;

 private:
  enum class Verdict : char { trying = '?', right = '+', wrong = '-' };
  /// What a row must be tested by for this node; empty: nothing, it is trusted.
  static std::string test_key(const Row& row, const Graph& graph, const Node& node);
  Status test(const Row& row, const Graph& graph, const Node& node) const;
  Status test_fused(const Graph& graph, std::span<const Node> nodes, const Plan& plan) const;
  void break_on_purpose(std::string_view name, Dispatch& dispatch) const;
  Status run_answer(const KnownAnswer& answer, Placed& placed, StepPlan plan) const;
  /// The verdict of `key`, by `test` if there is none yet.
  bool verdict(const std::string& key, const std::function<Status()>& test);
  void remember(const std::string& key, Verdict verdict);

  Backend& backend_;
  Machine& machine_;
  Log log_;
  std::string path_;    // of the file of verdicts; empty: none
  std::string broken_;  // name of the row to break
  std::map<std::string, Verdict> verdicts_;
};

}  // namespace runnel::vulkan
