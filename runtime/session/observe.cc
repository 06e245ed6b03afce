#include "runtime/session/observe.h"

#include <map>
#include <span>
#include <vector>

namespace runnel {
namespace {

bool is_product(Op op) {
  return op == Op::matmul || op == Op::moe_matmul || op == Op::matmul_swiglu;
}

/// Inputs of `node` that are weight matrices: biases and expert ids come after them.
std::span<const ValueId> matrices_of(const Node& node) {
  return std::span(node.in).subspan(1, node.op == Op::matmul_swiglu ? 2 : 1);
}

/// Values read back so far in one step; q, k and v read the same one.
class Reader {
 public:
  Reader(const Plan& plan, const StepParams& params) : plan_(plan), params_(params) {}

  std::int64_t rows(ValueId id) const {
    const Graph& graph = plan_.layout().graph;
    return graph.rows_in_step(graph.value(id), params_.n_tokens);
  }
  /// The rows in use of a value of 4-byte elements.
  Result<const std::byte*> get(ValueId id) {
    const auto [slot, is_new] = read_.try_emplace(id);
    if (is_new) {
      const std::int64_t elems = rows(id) * plan_.layout().graph.value(id).shape.cols();
      slot->second.resize(static_cast<std::size_t>(elems));
      RUNNEL_TRY(plan_.read_rows(id, rows(id), std::as_writable_bytes(std::span(slot->second))));
    }
    return reinterpret_cast<const std::byte*>(slot->second.data());
  }
  Result<const float*> floats(ValueId id) {
    RUNNEL_ASSIGN(const std::byte* rows, get(id));
    return reinterpret_cast<const float*>(rows);
  }

 private:
  const Plan& plan_;
  const StepParams& params_;
  std::map<ValueId, std::vector<float>> read_;
};

void keep(Graph& graph, ValueId id) {
  if (graph.value(id).role == Role::temp) graph.mark_output(id);
}

Status stopped() {
  return Status(Code::cancelled, "stopped by the observer");
}

}  // namespace

void keep_product_inputs(Graph& graph) {
  for (const Node& node : graph.nodes()) {
    if (!is_product(node.op)) continue;
    for (const ValueId id : {node.in[0], node.op == Op::moe_matmul ? node.in[2] : node.in[0]})
      keep(graph, id);
  }
}

Status observe(const Plan& plan, const StepParams& params, const ActivationObserver& observer) {
  const Graph& graph = plan.layout().graph;
  Reader reader(plan, params);
  for (const Node& node : graph.nodes()) {
    if (!is_product(node.op)) continue;
    Activations seen;
    seen.n_rows = reader.rows(node.in[0]);
    seen.n_in = graph.value(node.in[0]).shape.cols();
    RUNNEL_ASSIGN(seen.rows, reader.floats(node.in[0]));
    if (node.op == Op::moe_matmul) {
      RUNNEL_ASSIGN(const std::byte* ids, reader.get(node.in[2]));
      seen.matrices = reinterpret_cast<const std::int32_t*>(ids);
      seen.n_matrices = graph.value(node.in[1]).shape[0];
      // Rows are tokens, or (token, expert) pairs when an earlier product made them.
      const std::int64_t pairs = reader.rows(node.in[2]) * graph.value(node.in[2]).shape.cols();
      seen.n_per_row = pairs / seen.n_rows;
    }
    for (const ValueId weight : matrices_of(node)) {
      seen.weight = graph.value(weight).name;
      if (!observer(seen)) return stopped();
    }
  }
  return {};
}

void keep_attention_inputs(Graph& graph) {
  for (const Node& node : graph.nodes()) {
    if (node.op == Op::attention) keep(graph, node.in[0]);
    if (node.op != Op::kv_append) continue;
    keep(graph, node.in[0]);
    keep(graph, node.in[1]);
  }
}

Status observe_attention(const Plan& plan,
                         const StepParams& params,
                         const ModelConfig& config,
                         const AttentionObserver& observer) {
  const Graph& graph = plan.layout().graph;
  Reader reader(plan, params);
  AttentionInputs seen;
  std::size_t next = 0;  // layers come in order, keys and values before the attention over them
  for (const Node& node : graph.nodes()) {
    if (node.op == Op::kv_append) {
      RUNNEL_ASSIGN(seen.k, reader.floats(node.in[0]));
      RUNNEL_ASSIGN(seen.v, reader.floats(node.in[1]));
    }
    if (node.op != Op::attention) continue;
    while (config.layers[next].kind != LayerKind::attention) ++next;
    seen.layer = static_cast<std::int64_t>(next);
    seen.n_rows = reader.rows(node.in[0]);
    seen.n_kv_heads = config.layers[next++].n_kv_heads;
    RUNNEL_ASSIGN(seen.q, reader.floats(node.in[0]));
    if (!observer(seen)) return stopped();
  }
  return {};
}

}  // namespace runnel
