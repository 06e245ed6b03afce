// The least work of one step, by what limits it: for comparing a measured time with the hardware.
// Pure, thread-safe.
#pragma once
#include <cstdint>

#include "runtime/graph/graph.h"

namespace runnel {

struct StepSize {
  std::int64_t n_tokens = 1;
  std::int64_t n_keys = 1;  // tokens that the last one sees, itself included
};

/// The least that one node must do.
struct NodeCost {
  double operations = 0;    // of weight products, two per multiply-add
  double weight_bytes = 0;  // read once; of experts and table rows only those that are used
  double kv_bytes = 0;      // keys and values that the last token sees
};
NodeCost node_cost(const Graph& graph, const Node& node, StepSize size);

/// Sums over all nodes. The output head counts for one token: only the last needs logits.
struct StepCost {
  /// Operations of weight products by the units that can do them: bf16 weights, f32 and f16
  /// weights, and all others.
  double bf16_ops = 0, f32_ops = 0, int8_ops = 0;
  double kv_bytes = 0;
};
/// `graph`: of any plan that gives logits of the last token, fused or not.
StepCost step_cost(const Graph& graph, StepSize size);

}  // namespace runnel
