// Interpreter: expressions.
#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/interpreter.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/predicates.h"
#include "runtime/text/jinja/print.h"

namespace runnel::jinja {

Value Interpreter::evaluate(const Expression& node) {
  if (!enter()) return {};
  Value value = evaluate_kind(node);
  leave();
  return value;
}

Value Interpreter::evaluate_kind(const Expression& node) {
  switch (node.kind) {
    case ExpressionKind::constant:
      return node.constant;
    case ExpressionKind::name:
      return evaluate_name(node.name);
    case ExpressionKind::list:
    case ExpressionKind::tuple:
      return evaluate_sequence(node);
    case ExpressionKind::dict:
      return evaluate_dict(node);
    case ExpressionKind::negate:
      return negated(&context_, evaluate(*node.operands[0]));
    case ExpressionKind::plus:
      return plus(&context_, evaluate(*node.operands[0]));
    case ExpressionKind::logical_not:
      return Value(!is_true(evaluate(*node.operands[0])));
    case ExpressionKind::arithmetic:
      return evaluate_arithmetic(node);
    case ExpressionKind::compare:
      return evaluate_compare(node);
    case ExpressionKind::concatenate:
      return evaluate_concatenate(node);
    case ExpressionKind::logical_and:
    case ExpressionKind::logical_or:
      return evaluate_logical(node);
    case ExpressionKind::condition:
      return evaluate_condition(node);
    case ExpressionKind::suffixed:
      break;
  }
  return evaluate_suffixed(node);
}

Value Interpreter::evaluate_name(Symbol name) {
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
    if (const Value* value = scope->find(name)) return *value;
  }
  const auto index = static_cast<std::size_t>(name);
  if (globals_[index] != nullptr) return *globals_[index];
  return context_.undefined(in_quotes(template_.names[index]) + " is undefined");
}

Value Interpreter::evaluate_sequence(const Expression& node) {
  std::vector<Value> items;
  items.reserve(node.operands.size());
  for (const ExpressionPtr& operand : node.operands) {
    items.push_back(evaluate(*operand));
    if (failed()) return {};
  }
  const bool is_tuple = node.kind == ExpressionKind::tuple;
  return context_.list(std::move(items), is_tuple ? ListKind::tuple : ListKind::list);
}

Value Interpreter::evaluate_dict(const Expression& node) {
  std::vector<Dict::Entry> entries;
  for (std::size_t i = 0; i + 1 < node.operands.size(); i += 2) {
    Value key = evaluate(*node.operands[i]);
    entries.emplace_back(std::move(key), evaluate(*node.operands[i + 1]));
    if (failed()) return {};
  }
  return context_.dict(std::move(entries));
}

Value Interpreter::evaluate_arithmetic(const Expression& node) {
  Value left = evaluate(*node.operands[0]);
  for (std::size_t i = 0; i < node.operators.size() && !failed(); ++i) {
    left = arithmetic(&context_, node.operators[i], left, evaluate(*node.operands[i + 1]));
  }
  return left;
}

Value Interpreter::evaluate_compare(const Expression& node) {
  Value left = evaluate(*node.operands[0]);
  for (std::size_t i = 0; i < node.operators.size() && !failed(); ++i) {
    Value right = evaluate(*node.operands[i + 1]);
    if (!compare(&context_, node.operators[i], left, right)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Interpreter::evaluate_concatenate(const Expression& node) {
  TextBuilder out(&context_);
  for (const ExpressionPtr& operand : node.operands) {
    if (!append_text(&context_, evaluate(*operand), &out)) return {};
  }
  return context_.text(out.take());
}

Value Interpreter::evaluate_logical(const Expression& node) {
  const bool stops_at = node.kind == ExpressionKind::logical_or;
  Value value;
  for (const ExpressionPtr& operand : node.operands) {
    value = evaluate(*operand);
    if (failed() || is_true(value) == stops_at) break;
  }
  return value;
}

Value Interpreter::evaluate_condition(const Expression& node) {
  const Value condition = evaluate(*node.operands[0]);
  if (failed()) return {};
  if (is_true(condition)) return evaluate(*node.operands[1]);
  if (node.operands.size() > 2) return evaluate(*node.operands[2]);
  return context_.undefined("the inline if-expression on line " + std::to_string(node.line) +
                            " evaluated to false and no else section was defined.");
}

Value Interpreter::evaluate_suffixed(const Expression& node) {
  Value value = evaluate(*node.operands[0]);
  for (const Suffix& suffix : node.suffixes) {
    if (!context_.work(1)) return {};
    value = apply(suffix, value, nullptr);
  }
  return value;
}

/// `caller`: passed to the call, for call blocks; else null.
Value Interpreter::apply(const Suffix& suffix, const Value& value, const Value* caller) {
  switch (suffix.kind) {
    case SuffixKind::attribute:
      return get_attribute(&context_, value, suffix.name);
    case SuffixKind::item:
      return get_item(&context_, value, evaluate(*suffix.index[0]));
    case SuffixKind::slice:
      return apply_slice(suffix, value);
    default:
      break;
  }
  Arguments arguments;
  if (!evaluate_arguments(suffix.arguments, &arguments)) return {};
  switch (suffix.kind) {
    case SuffixKind::call:
      if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
      return call(value, std::move(arguments));
    case SuffixKind::filter:
      return call_filter(&context_, suffix.name, value, arguments);
    default:
      break;
  }
  const bool holds = call_predicate(&context_, suffix.name, value, arguments);
  return Value(holds == (suffix.kind == SuffixKind::test));
}

Value Interpreter::apply_slice(const Suffix& suffix, const Value& value) {
  const Value start = optional(suffix.index[0]);
  const Value stop = optional(suffix.index[1]);
  const Value step = optional(suffix.index[2]);
  return slice(&context_, value, start, stop, step);
}

bool Interpreter::evaluate_arguments(const CallArguments& source, Arguments* out) {
  for (const ExpressionPtr& node : source.positional) {
    out->positional.push_back(evaluate(*node));
    if (failed()) return false;
  }
  for (const auto& [name, node] : source.named) {
    out->named.emplace_back(name, evaluate(*node));
    if (failed()) return false;
  }
  return add_star_arguments(source, out);
}

bool Interpreter::add_star_arguments(const CallArguments& source, Arguments* out) {
  if (source.star != nullptr) {
    const Value items = iterate(&context_, evaluate(*source.star));
    if (failed() || !context_.work(items.list().items.size() / 8)) return false;
    for (const Value& item : items.list().items) out->positional.push_back(item);
  }
  if (source.star_star == nullptr) return !failed();
  const Value named = evaluate(*source.star_star);
  if (failed()) return false;
  if (!named.is_dict()) {
    context_.fail("argument after ** must be a mapping, not " + std::string(type_name(named)));
    return false;
  }
  for (const auto& [key, value] : named.dict().items) {
    if (!key.is_text()) {
      context_.fail("keywords must be strings");
      return false;
    }
    out->named.emplace_back(key.text().bytes, value);
  }
  return context_.work(named.dict().items.size());
}

}  // namespace runnel::jinja
