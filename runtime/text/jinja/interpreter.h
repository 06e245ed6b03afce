// Walks the syntax tree of a template and writes its output. One per render, used by one thread.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/text/jinja/ast.h"
#include "runtime/text/jinja/context.h"
#include "runtime/text/jinja/objects.h"
#include "runtime/text/jinja/value.h"

namespace runnel::jinja {

class Interpreter {
 public:
  /// Both must outlive the interpreter. `variables` maps names to values.
  Interpreter(const Template& source, Context* context, const Dict& variables);
  /// The rendered text; empty when context->failed().
  std::string render();

 private:
  enum class Flow : std::uint8_t { normal, stop_loop, next_item };

  /// Receives text while it is alive; text captured from a block counts as memory.
  class Capture {
   public:
    explicit Capture(Interpreter* interpreter);
    ~Capture();
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    Value text();

   private:
    Interpreter* interpreter_;
    std::string* outer_;
    std::string text_;
  };

  /// Makes a new scope current while it is alive.
  class ScopeGuard {
   public:
    ScopeGuard(Interpreter* interpreter, std::shared_ptr<Scope> scope)
        : interpreter_(interpreter), outer_(std::exchange(interpreter->scope_, std::move(scope))) {}
    ~ScopeGuard() { interpreter_->scope_ = std::move(outer_); }
    ScopeGuard(const ScopeGuard&) = delete;
    ScopeGuard& operator=(const ScopeGuard&) = delete;

   private:
    Interpreter* interpreter_;
    std::shared_ptr<Scope> outer_;
  };

  // interpreter.cc: statements
  Flow run(const Body& body);
  Flow run(const Statement& statement);
  Flow run_branch(const Statement& statement);
  Flow run_assign_block(const Statement& statement);
  Flow run_filter_block(const Statement& statement);
  Flow run_scope(const Statement& statement);
  void run_call_block(const Statement& statement);
  Flow run_else(const Statement& statement);
  Flow run_loop(const Statement& statement, const Value& iterable, int depth0);
  Value select_items(const Statement& statement, const Value& items);
  bool run_rounds(const Statement& statement, Loop* loop, const Value& loop_value);
  void assign(const Target& target, const Value& value, Scope* scope);
  void assign_attribute(const Target& target, const Value& value);
  void write(std::string_view text);
  void write_value(const Value& value);
  std::shared_ptr<Scope> inner_scope() const { return std::make_shared<Scope>(scope_); }
  bool failed() const { return context_.failed(); }
  /// Counts nesting of evaluation; every true must be followed by leave().
  bool enter();
  void leave() { --depth_; }

  // evaluate.cc: expressions
  Value evaluate(const Expression& node);
  Value evaluate_kind(const Expression& node);
  Value evaluate_name(Symbol name);
  Value evaluate_sequence(const Expression& node);
  Value evaluate_dict(const Expression& node);
  Value evaluate_arithmetic(const Expression& node);
  Value evaluate_compare(const Expression& node);
  Value evaluate_concatenate(const Expression& node);
  Value evaluate_logical(const Expression& node);
  Value evaluate_condition(const Expression& node);
  Value evaluate_suffixed(const Expression& node);
  Value apply(const Suffix& suffix, const Value& value, const Value* caller);
  Value apply_slice(const Suffix& suffix, const Value& value);
  bool evaluate_arguments(const CallArguments& source, Arguments* out);
  bool add_star_arguments(const CallArguments& source, Arguments* out);
  Value optional(const ExpressionPtr& node) { return node == nullptr ? Value() : evaluate(*node); }

  // call.cc
  Value call(const Value& callee, Arguments arguments);
  Value call_macro(Macro* macro, Arguments arguments);
  bool bind_macro(const Macro& macro, Arguments* arguments, Scope* scope);
  bool bind_macro_extras(const Macro& macro, Arguments* arguments, Scope* scope);
  Value call_loop(Loop* loop, const Arguments& arguments);

  const Template& template_;
  Context& context_;
  std::vector<const Value*> globals_;  // by Symbol; null: undefined
  std::vector<Value> builtins_;        // that globals_ points to
  std::shared_ptr<Scope> scope_;
  std::string output_;
  std::string* target_ = &output_;  // where text goes now
  Symbol loop_name_ = -1;           // of "loop"; -1 when the template does not use it
  Symbol caller_name_ = -1, varargs_name_ = -1, kwargs_name_ = -1;
  int depth_ = 0;
  int macro_depth_ = 0;
};

}  // namespace runnel::jinja
