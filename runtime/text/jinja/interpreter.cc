#include "runtime/text/jinja/interpreter.h"

#include "runtime/text/jinja/functions.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/print.h"

namespace runnel::jinja {
namespace {

/// Nested evaluations per level of TemplateLimits::depth: a level of the source passes through a
/// few nodes, and macro calls add up.
constexpr int kEvaluationsPerLevel = 4;

}  // namespace

Interpreter::Interpreter(const Template& source, Context* context, const Dict& variables)
    : template_(source), context_(*context), scope_(std::make_shared<Scope>(nullptr)) {
  builtins_.reserve(source.names.size());
  for (const std::string& name : source.names) {
    const auto symbol = static_cast<Symbol>(globals_.size());
    if (name == "loop") loop_name_ = symbol;
    if (name == "caller") caller_name_ = symbol;
    if (name == "varargs") varargs_name_ = symbol;
    if (name == "kwargs") kwargs_name_ = symbol;
    const Value* value = variables.find(name);
    Value builtin;
    if (value == nullptr && find_function(name, &builtin)) {
      builtins_.push_back(std::move(builtin));
      value = &builtins_.back();
    }
    globals_.push_back(value);
  }
}

std::string Interpreter::render() {
  run(template_.body);
  if (failed()) return {};
  return std::move(output_);
}

bool Interpreter::enter() {
  if (!context_.work(1)) return false;
  if (depth_ >= context_.limits().depth * kEvaluationsPerLevel) {
    context_.fail_unsupported("evaluation is nested too deeply");
    return false;
  }
  ++depth_;
  return true;
}

Interpreter::Capture::Capture(Interpreter* interpreter)
    : interpreter_(interpreter), outer_(std::exchange(interpreter->target_, &text_)) {}

Interpreter::Capture::~Capture() {
  interpreter_->target_ = outer_;
  interpreter_->context_.give_back_bytes(text_.size());
}

Value Interpreter::Capture::text() {
  interpreter_->context_.give_back_bytes(text_.size());
  return interpreter_->context_.text(std::exchange(text_, {}));
}

void Interpreter::write(std::string_view text) {
  if (!context_.work_bytes(text.size())) return;
  const std::size_t limit = context_.limits().output_bytes;
  if (target_ == &output_ && (text.size() > limit || output_.size() > limit - text.size())) {
    context_.fail_unsupported("the output is larger than " + std::to_string(limit) + " bytes");
    return;
  }
  if (target_ != &output_ && !context_.take_bytes(text.size())) return;
  target_->append(text);
}

void Interpreter::write_value(const Value& value) {
  if (failed()) return;
  if (value.is_text()) return write(value.text().bytes);
  write(to_text(&context_, value));
}

Interpreter::Flow Interpreter::run(const Body& body) {
  if (!enter()) return Flow::normal;
  Flow flow = Flow::normal;
  for (const Statement& statement : body) {
    flow = run(statement);
    if (flow != Flow::normal || failed()) break;
  }
  leave();
  return flow;
}

Interpreter::Flow Interpreter::run(const Statement& statement) {
  switch (statement.kind) {
    case StatementKind::text:
      write(statement.text);
      break;
    case StatementKind::output:
      write_value(evaluate(*statement.expressions[0]));
      break;
    case StatementKind::branch:
      return run_branch(statement);
    case StatementKind::loop:
      return run_loop(statement, evaluate(*statement.expressions[0]), 0);
    case StatementKind::assign:
      assign(statement.targets[0], evaluate(*statement.expressions[0]), scope_.get());
      break;
    case StatementKind::assign_block:
      return run_assign_block(statement);
    case StatementKind::macro: {
      auto macro = std::make_shared<Macro>(statement.macro.get(), scope_);
      scope_->set(statement.macro->name, context_.keep(std::move(macro), sizeof(Macro)));
      break;
    }
    case StatementKind::call_block:
      run_call_block(statement);
      break;
    case StatementKind::filter_block:
      return run_filter_block(statement);
    case StatementKind::scope:
      return run_scope(statement);
    case StatementKind::stop_loop:
      return Flow::stop_loop;
    case StatementKind::next_item:
      return Flow::next_item;
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::run_branch(const Statement& statement) {
  for (std::size_t i = 0; i < statement.expressions.size(); ++i) {
    const Value condition = evaluate(*statement.expressions[i]);
    if (failed()) return Flow::normal;
    if (is_true(condition)) return run(statement.bodies[i]);
  }
  const bool has_else = statement.bodies.size() > statement.expressions.size();
  return has_else ? run(statement.bodies.back()) : Flow::normal;
}

Interpreter::Flow Interpreter::run_assign_block(const Statement& statement) {
  Value text;
  {
    Capture capture(this);
    const ScopeGuard guard(this, inner_scope());
    const Flow flow = run(statement.bodies[0]);
    if (flow != Flow::normal || failed()) return flow;
    text = capture.text();
    if (!statement.expressions.empty()) {
      scope_->set(kBlockText, text);
      text = evaluate(*statement.expressions[0]);
    }
  }
  assign(statement.targets[0], text, scope_.get());
  return Flow::normal;
}

Interpreter::Flow Interpreter::run_filter_block(const Statement& statement) {
  Value text;
  {
    Capture capture(this);
    const ScopeGuard guard(this, inner_scope());
    const Flow flow = run(statement.bodies[0]);
    if (flow != Flow::normal || failed()) return flow;
    scope_->set(kBlockText, capture.text());
    text = evaluate(*statement.expressions[0]);
  }
  write_value(text);
  return Flow::normal;
}

Interpreter::Flow Interpreter::run_scope(const Statement& statement) {
  std::shared_ptr<Scope> inner = inner_scope();
  for (std::size_t i = 0; i < statement.targets.size() && !failed(); ++i) {
    assign(statement.targets[i], evaluate(*statement.expressions[i]), inner.get());
  }
  if (failed()) return Flow::normal;
  const ScopeGuard guard(this, std::move(inner));
  return run(statement.bodies[0]);
}

void Interpreter::run_call_block(const Statement& statement) {
  const Expression& node = *statement.expressions[0];
  auto macro = std::make_shared<Macro>(statement.macro.get(), scope_);
  const Value caller = context_.keep(std::move(macro), sizeof(Macro));
  if (!enter()) return;
  Value value = evaluate(*node.operands[0]);
  for (const Suffix& suffix : node.suffixes) {
    if (failed()) break;
    value = apply(suffix, value, &suffix == &node.suffixes.back() ? &caller : nullptr);
  }
  leave();
  write_value(value);
}

/// The items for which the filter of the loop holds.
Value Interpreter::select_items(const Statement& statement, const Value& items) {
  const std::shared_ptr<Scope> scope = inner_scope();
  const ScopeGuard guard(this, scope);
  std::vector<Value> kept;
  for (const Value& item : items.list().items) {
    assign(statement.targets[0], item, scope.get());
    const Value condition = evaluate(*statement.expressions[1]);
    if (failed()) return {};
    if (is_true(condition)) kept.push_back(item);
  }
  return context_.list(std::move(kept));
}

/// What else than normal comes out is a break or continue in the else body, for the loop around.
Interpreter::Flow Interpreter::run_loop(const Statement& statement,
                                        const Value& iterable,
                                        int depth0) {
  Value items = iterate(&context_, iterable);
  if (!failed() && statement.expressions.size() > 1) items = select_items(statement, items);
  if (failed()) return Flow::normal;
  if (items.list().items.empty()) return run_else(statement);
  const auto loop = std::make_shared<Loop>();
  loop->items = items;
  loop->length = items.list().items.size();
  loop->depth0 = depth0;
  if (statement.is_recursive) {
    loop->statement = &statement;
    loop->scope = scope_;
  }
  const bool finished = run_rounds(statement, loop.get(), Value(std::shared_ptr<Object>(loop)));
  loop->clear();
  return finished || failed() ? Flow::normal : run_else(statement);
}

Interpreter::Flow Interpreter::run_else(const Statement& statement) {
  if (statement.bodies.size() < 2) return Flow::normal;
  const ScopeGuard guard(this, inner_scope());
  return run(statement.bodies[1]);
}

/// True when a round came to its end without break or continue: as in Jinja, the else body is
/// skipped only then.
bool Interpreter::run_rounds(const Statement& statement, Loop* loop, const Value& loop_value) {
  bool finished = false;
  std::shared_ptr<Scope> scope;
  for (; loop->index < loop->length; ++loop->index) {
    if (!context_.work(1)) return false;
    // A scope that nothing has kept is used again.
    if (scope == nullptr || scope.use_count() > 1) {
      scope = inner_scope();
    } else {
      scope->clear();
    }
    if (loop_name_ >= 0) scope->set(loop_name_, loop_value);
    assign(statement.targets[0], loop->items.list().items[loop->index], scope.get());
    if (failed()) return false;
    const ScopeGuard guard(this, scope);
    const Flow flow = run(statement.bodies[0]);
    if (flow == Flow::stop_loop || failed()) return finished;
    finished = finished || flow == Flow::normal;
  }
  --loop->index;
  return finished;
}

void Interpreter::assign(const Target& target, const Value& value, Scope* scope) {
  if (failed()) return;
  if (!target.attribute.empty()) return assign_attribute(target, value);
  if (target.parts.empty()) return scope->set(target.name, value);
  if (value.is_none() || value.is_number()) {
    context_.fail("cannot unpack non-iterable " + std::string(type_name(value)) + " object");
    return;
  }
  const Value items = iterate(&context_, value);
  if (failed()) return;
  const std::size_t wanted = target.parts.size();
  const std::size_t given = items.list().items.size();
  if (given < wanted) {
    context_.fail("not enough values to unpack (expected " + std::to_string(wanted) + ", got " +
                  std::to_string(given) + ")");
  } else if (given > wanted) {
    context_.fail("too many values to unpack (expected " + std::to_string(wanted) + ")");
  }
  for (std::size_t i = 0; i < wanted && !failed(); ++i) {
    assign(target.parts[i], items.list().items[i], scope);
  }
}

void Interpreter::assign_attribute(const Target& target, const Value& value) {
  const Value owner = evaluate_name(target.name);
  if (failed()) return;
  if (!owner.is_object(ObjectKind::name_space)) {
    context_.fail("cannot assign attribute on non-namespace object");
    return;
  }
  auto& space = static_cast<Namespace&>(owner.object());
  if (space.find(target.attribute) == nullptr && !context_.take_bytes(sizeof(Value) + 100)) return;
  space.set(target.attribute, value);
}

}  // namespace runnel::jinja
