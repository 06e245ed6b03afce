#include "runtime/session/profiler.h"

#include <algorithm>
#include <tuple>

#include "runtime/session/cost.h"

namespace runnel {
namespace {

/// Format of the node's matrices; empty without.
std::string_view weight_format(const Graph& graph, const Node& node) {
  for (const ValueId id : node.in) {
    const Value& value = graph.value(id);
    if (value.role == Role::weight && value.shape.rank >= 2) return quant::info(value.dtype).name;
  }
  return {};
}

}  // namespace

Profiler::~Profiler() {
  for (const auto& [key, watched] : watched_) (void)watched.plan->time_nodes({});
}

Status Profiler::watch(Plan& plan) {
  if (watched_.contains(&plan)) return {};
  Watched watched;
  watched.plan = &plan;
  watched.nanoseconds.resize(plan.layout().graph.nodes().size());
  Status timed = plan.time_nodes(watched.nanoseconds);
  if (timed.ok())
    watched_.emplace(&plan, std::move(watched));  // the plan's span stays valid
  else
    (void)plan.time_nodes({});
  return timed;
}

void Profiler::count(const Plan& plan, const StepParams& params, double seconds) {
  Watched& watched = watched_[&plan];
  watched.steps += 1;
  watched.tokens += params.n_tokens;
  watched.keys += params.kv_pos() + params.n_tokens;
  watched.seconds += seconds;
}

ProfileReport Profiler::report() const {
  ProfileReport report;
  std::map<std::tuple<std::string_view, std::string_view>, ProfileRow> rows;
  for (const auto& [key, watched] : watched_) {
    if (watched.steps == 0) continue;
    report.steps += watched.steps;
    report.tokens += watched.tokens;
    report.seconds += watched.seconds;
    const Graph& graph = watched.plan->layout().graph;
    const auto steps = static_cast<double>(watched.steps);
    const StepSize mean{watched.tokens / watched.steps, watched.keys / watched.steps};
    for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
      const Node& node = graph.nodes()[i];
      const std::string_view op = schema(node.op).name, weights = weight_format(graph, node);
      ProfileRow& row = rows[{op, weights}];
      row.op = op;
      row.weights = weights;
      row.calls += watched.steps;
      row.seconds += 1e-9 * static_cast<double>(watched.nanoseconds[i]);
      const NodeCost cost = node_cost(graph, node, mean);
      row.bytes += steps * (cost.weight_bytes + cost.kv_bytes);
      row.operations += steps * cost.operations;
    }
  }
  for (const auto& [key, row] : rows) report.rows.push_back(row);
  std::ranges::sort(report.rows, std::ranges::greater{}, &ProfileRow::seconds);
  return report;
}

}  // namespace runnel
