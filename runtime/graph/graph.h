// Graph: what a model computes, as flat arrays of values and nodes that refer by index.
// Built by an architecture, rewritten by the compile passes, then frozen into a Plan.
// Not thread-safe while it is built; const methods are.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quant/dtype.h"
#include "quant/kv_format.h"
#include "runtime/base/shape.h"
#include "runtime/base/status.h"
#include "runtime/graph/ops.h"

namespace runnel {

using quant::DType;
using ValueId = std::int32_t;
inline constexpr ValueId kNoValue = -1;

enum class Role : std::uint8_t {
  weight,  // constant from the model file
  input,   // written by the host before each step
  temp,    // lives in the plan's arena
  state,   // lives in the Cache, per sequence
  output,  // temp that the host reads after the step
};

enum class StateKind : std::uint8_t {
  none,
  kv_k,        // shape of one page [G, kPageTokens, dh]; of rows, or of tiles (Value::kv)
  kv_v,        // same
  kv_window,   // f16 rows beside tiles: [2G, 16 + ring, dh], K heads then V heads; kv_window_slot()
  kv_summary,  // of the keys in one page: [G, kv_summary_values(dh)] f16 (quant/kv_sparse.h)
  conv,  // ring of p = B*x columns: [ring_columns, D] f32, column of position t in slot t % ring
};

/// Whether a state has one part for each page of tokens, else one for the whole sequence.
constexpr bool is_paged(StateKind kind) {
  return kind == StateKind::kv_k || kind == StateKind::kv_v || kind == StateKind::kv_summary;
}

/// Tokens in one KV page of one layer.
inline constexpr std::int64_t kPageTokens = 64;

struct Value {
  std::string name;
  Shape shape;  // per-token values: dim 0 is the plan's maximum number of tokens (or T*k)
  DType dtype = DType::f32;
  Role role = Role::temp;
  bool per_token = false;             // rows used in a step = shape[0] * n_tokens / max_tokens
  StateKind state = StateKind::none;  // Role::state only
  std::int32_t state_index = -1;      // index into the Cache's list of states
  quant::KvFormat kv = quant::KvFormat::plain;  // kv_k and kv_v: how a page is packed
};

/// Bytes of a state's storage: of one page of keys or values, else of all of it.
std::size_t state_bytes(const Value& value);

struct Node {
  Op op = Op::count;
  std::vector<ValueId> in;  // optional trailing inputs are simply absent
  std::vector<ValueId> out;
  Attr attr;
  std::string name;  // "blk.3.attn_q", for dumps and errors
};

/// Values and nodes in a valid topological order.
class Graph {
 public:
  explicit Graph(std::int64_t max_tokens = 1) : max_tokens_(max_tokens) {}

  /// Rows that per-token values have.
  std::int64_t max_tokens() const { return max_tokens_; }
  const std::vector<Value>& values() const { return values_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const Value& value(ValueId id) const { return values_[static_cast<std::size_t>(id)]; }
  Value& value(ValueId id) { return values_[static_cast<std::size_t>(id)]; }

  ValueId add_value(Value value);
  ValueId add_weight(std::string name, Shape shape, DType dtype);
  /// Per-token input, e.g. token ids [max_tokens] i32.
  ValueId add_input(std::string name, Shape shape, DType dtype);
  /// State number `state_index` of the Cache, in the order of these calls.
  ValueId add_state(std::string name,
                    Shape shape,
                    DType dtype,
                    StateKind kind,
                    quant::KvFormat kv = quant::KvFormat::plain);

  /// Appends a node whose outputs are fresh temps, infers their shapes, and returns the first
  /// output (kNoValue for ops without outputs). ERRORS: invalid_argument, naming the node.
  Result<ValueId> add_node(Op op, std::vector<ValueId> in, Attr attr, std::string name);
  /// Appends a node that writes given values (used by passes and decompositions); infers and
  /// checks.
  Status add_node_to(
      Op op, std::vector<ValueId> in, std::vector<ValueId> out, Attr attr, std::string name);
  /// Turns a temp into an output the host reads.
  void mark_output(ValueId id);
  /// Replaces all nodes (compile passes).
  void set_nodes(std::vector<Node> nodes) { nodes_ = std::move(nodes); }

  ValueId find_value(std::string_view name) const;  // kNoValue when absent
  /// Rows of `value` in use when the step has n_tokens tokens.
  std::int64_t rows_in_step(const Value& value, std::int64_t n_tokens) const;

  /// One line per node: "%12 [512, 2048] f32 = rms_norm(%11, blk.0.attn_norm.weight) eps=1e-05".
  std::string dump() const;

 private:
  std::int64_t max_tokens_;
  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::int32_t n_states_ = 0;
};

}  // namespace runnel
