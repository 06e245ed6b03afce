#include "runtime/graph/graph.h"

#include <charconv>
#include <type_traits>

#include "runtime/base/checked.h"

namespace runnel {
namespace {

Status bad_node(std::string_view name, Op op, std::string_view reason) {
  return {Code::invalid_argument,
          std::string(name) + ": " + std::string(schema(op).name) + ": " + std::string(reason)};
}

bool all_known(std::span<const ValueId> ids, std::size_t n_values) {
  for (ValueId id : ids)
    if (id < 0 || static_cast<std::size_t>(id) >= n_values) return false;
  return true;
}

std::string number(float value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof(text), value);
  return {text, end.ptr};
}

std::string attr_text(std::monostate) {
  return "";
}

std::string attr_text(const RmsNormAttr& a) {
  return " eps=" + number(a.eps);
}

std::string attr_text(const RopeAttr& a) {
  std::string text = " theta=" + number(a.theta) + " head_dim=" + std::to_string(a.head_dim) +
                     " rotary_dim=" + std::to_string(a.rotary_dim) +
                     (a.style == RopeStyle::half ? " style=half" : " style=interleaved");
  if (a.eps != 0.0f) text += " eps=" + number(a.eps);
  return text;
}

std::string attr_text(const KvWindowAttr& a) {
  return " sinks=" + std::to_string(a.sinks) + " recent=" + std::to_string(a.recent) +
         (a.streaming != 0 ? " streaming=" + std::to_string(a.streaming) : "");
}

std::string attr_text(const AttentionAttr& a) {
  std::string text = " scale=" + number(a.scale) + " heads=" + std::to_string(a.n_heads) +
                     " kv_heads=" + std::to_string(a.n_kv_heads) +
                     " head_dim=" + std::to_string(a.head_dim);
  if (a.window != 0) text += " window=" + std::to_string(a.window);
  if (a.tiles.recent != 0 || a.tiles.sinks != 0) text += attr_text(a.tiles);
  if (a.sparse.pages != 0)
    text += " sparse=" + std::to_string(a.sparse.pages) + "/" + std::to_string(a.sparse.from);
  return text;
}

std::string attr_text(const RotateAttr& a) {
  if (!a.transform) return " round";
  return std::string(a.direction == quant::Direction::forward ? " forward" : " inverse") +
         " signs=" + std::to_string(a.signs) + (a.round ? " round" : "");
}

std::string attr_text(const ShortConvAttr& a) {
  return " kernel=" + std::to_string(a.kernel);
}

std::string attr_text(const MoeRouteAttr& a) {
  return " used=" + std::to_string(a.n_used) +
         (a.gating == Gating::sigmoid ? " gating=sigmoid" : " gating=softmax") +
         (a.normalise ? " norm_eps=" + number(a.norm_eps) : "") + " scale=" + number(a.scale);
}

/// Temps and outputs by number, everything that has an outside name by that name.
std::string operand_text(const Graph& graph, ValueId id) {
  const Value& value = graph.value(id);
  const bool numbered = value.role == Role::temp || value.role == Role::output;
  return numbered || value.name.empty() ? std::string("%").append(std::to_string(id)) : value.name;
}

}  // namespace

std::size_t state_bytes(const Value& value) {
  const Shape& shape = value.shape;
  if (value.kv != quant::KvFormat::plain)
    return static_cast<std::size_t>(shape[0] * (shape[2] / quant::kKvChannels)) *
           quant::kv_block_bytes(value.kv);
  return align_up(quant::row_bytes(value.dtype, static_cast<std::size_t>(shape.cols())) *
                      static_cast<std::size_t>(shape.rows()),
                  64);
}

ValueId Graph::add_value(Value value) {
  values_.push_back(std::move(value));
  return static_cast<ValueId>(values_.size() - 1);
}

ValueId Graph::add_weight(std::string name, Shape shape, DType dtype) {
  Value value;
  value.name = std::move(name);
  value.shape = shape;
  value.dtype = dtype;
  value.role = Role::weight;
  return add_value(std::move(value));
}

ValueId Graph::add_input(std::string name, Shape shape, DType dtype) {
  check(shape.rank > 0 && shape[0] > 0 && shape[0] % max_tokens_ == 0,
        "dim 0 of a per-token input is a multiple of max_tokens");
  Value value;
  value.name = std::move(name);
  value.shape = shape;
  value.dtype = dtype;
  value.role = Role::input;
  value.per_token = true;
  return add_value(std::move(value));
}

ValueId Graph::add_state(
    std::string name, Shape shape, DType dtype, StateKind kind, quant::KvFormat kv) {
  Value value;
  value.name = std::move(name);
  value.shape = shape;
  value.dtype = dtype;
  value.role = Role::state;
  value.state = kind;
  value.state_index = n_states_++;
  value.kv = kv;
  return add_value(std::move(value));
}

Result<ValueId> Graph::add_node(Op op, std::vector<ValueId> in, Attr attr, std::string name) {
  const std::size_t n_values = values_.size();
  std::vector<ValueId> out;
  for (int i = 0; i < schema(op).n_out; ++i) {
    Value value;
    value.name = i == 0 ? name : name + "." + std::to_string(i);
    out.push_back(add_value(std::move(value)));
  }
  const ValueId first = out.empty() ? kNoValue : out.front();
  Status status = all_known(in, n_values)
                      ? add_node_to(op, std::move(in), std::move(out), attr, std::move(name))
                      : bad_node(name, op, "an input is no value of this graph");
  if (!status.ok()) {
    values_.resize(n_values);
    return status;
  }
  return first;
}

Status Graph::add_node_to(
    Op op, std::vector<ValueId> in, std::vector<ValueId> out, Attr attr, std::string name) {
  const OpSchema& row = schema(op);
  if (!all_known(in, values_.size()) || !all_known(out, values_.size()))
    return bad_node(name, op, "an operand is no value of this graph");
  if (in.size() < row.min_in || in.size() > row.max_in)
    return bad_node(name, op,
                    "has " + std::to_string(in.size()) + " inputs, needs " +
                        std::to_string(row.min_in) + " to " + std::to_string(row.max_in));
  if (out.size() != row.n_out)
    return bad_node(
        name, op,
        "has " + std::to_string(out.size()) + " outputs, needs " + std::to_string(row.n_out));
  Node node{op, std::move(in), std::move(out), attr, std::move(name)};
  RUNNEL_TRY(row.infer(*this, node));
  nodes_.push_back(std::move(node));
  return {};
}

void Graph::mark_output(ValueId id) {
  check(value(id).role == Role::temp || value(id).role == Role::output,
        "only a temp becomes an output");
  value(id).role = Role::output;
}

ValueId Graph::find_value(std::string_view name) const {
  for (std::size_t i = 0; i < values_.size(); ++i)
    if (values_[i].name == name) return static_cast<ValueId>(i);
  return kNoValue;
}

std::int64_t Graph::rows_in_step(const Value& value, std::int64_t n_tokens) const {
  return value.per_token ? value.shape[0] / max_tokens_ * n_tokens : value.shape[0];
}

std::string Graph::dump() const {
  std::string text;
  for (const Node& node : nodes_) {
    for (std::size_t i = 0; i < node.out.size(); ++i) {
      const Value& result = value(node.out[i]);
      if (i > 0) text += ", ";
      text += operand_text(*this, node.out[i]) + " " + result.shape.to_string() + " ";
      text += quant::info(result.dtype).name;
    }
    if (!node.out.empty()) text += " = ";
    text += schema(node.op).name;
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      text += i == 0 ? "(" : ", ";
      text += operand_text(*this, node.in[i]);
    }
    text += ")";
    text += std::visit([](const auto& a) { return attr_text(a); }, node.attr);
    if (!node.name.empty()) text += "  # " + node.name;
    text += "\n";
  }
  return text;
}

}  // namespace runnel
