// Interpreter: calls of macros, loops, functions and methods.
#include <algorithm>

#include "runtime/text/jinja/functions.h"
#include "runtime/text/jinja/interpreter.h"
#include "runtime/text/jinja/methods.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/print.h"

namespace runnel::jinja {
namespace {

/// Takes the named argument out of the list; false when it is not there.
bool take_named(Arguments* arguments, std::string_view name, Value* out) {
  auto& named = arguments->named;
  const auto found = std::find_if(named.begin(), named.end(),
                                  [name](const auto& argument) { return argument.first == name; });
  if (found == named.end()) return false;
  *out = std::move(found->second);
  named.erase(found);
  return true;
}

}  // namespace

Value Interpreter::call(const Value& callee, Arguments arguments) {
  if (failed() || !reject_undefined(&context_, callee)) return {};
  if (callee.kind() != Kind::object) {
    return context_.fail(in_quotes(type_name(callee)) + " object is not callable");
  }
  Object& object = callee.object();
  switch (object.kind) {
    case ObjectKind::macro:
      return call_macro(&static_cast<Macro&>(object), std::move(arguments));
    case ObjectKind::loop:
      return call_loop(&static_cast<Loop&>(object), arguments);
    case ObjectKind::function:
      return call_global_function(&context_, static_cast<Function&>(object), arguments);
    case ObjectKind::method: {
      const auto& method = static_cast<const Method&>(object);
      return call_method(&context_, method.self, method.name, arguments);
    }
    case ObjectKind::joiner: {
      Bound bound;
      if (!bind(&context_, "joiner", arguments, {}, 0, &bound)) return {};
      auto& joiner = static_cast<Joiner&>(object);
      return std::exchange(joiner.is_used, true) ? joiner.separator : context_.text("");
    }
    default:
      return context_.fail(in_quotes(type_name(callee)) + " object is not callable");
  }
}

Value Interpreter::call_macro(Macro* macro, Arguments arguments) {
  if (macro->scope == nullptr) return context_.fail("the macro is no longer there");
  if (macro_depth_ >= context_.limits().depth) {
    return context_.fail_unsupported("macros are called too deeply");
  }
  const auto scope = std::make_shared<Scope>(macro->scope);
  ++macro_depth_;
  Value result;
  {
    const ScopeGuard guard(this, scope);
    if (bind_macro(*macro, &arguments, scope.get())) {
      Capture capture(this);
      run(macro->definition->body);
      result = capture.text();
    }
  }
  --macro_depth_;
  return result;
}

/// Sets the parameters in `scope`, which must be current: defaults may use earlier parameters.
bool Interpreter::bind_macro(const Macro& macro, Arguments* arguments, Scope* scope) {
  const MacroDefinition& definition = *macro.definition;
  const std::size_t n_positional = arguments->positional.size();
  std::vector<const Parameter*> missing;
  for (std::size_t i = 0; i < definition.parameters.size(); ++i) {
    const Parameter& parameter = definition.parameters[i];
    const std::string& name = template_.names[static_cast<std::size_t>(parameter.name)];
    Value value;
    if (i < n_positional) {
      value = arguments->positional[i];
    } else if (!context_.work(arguments->named.size()) || !take_named(arguments, name, &value)) {
      missing.push_back(&parameter);
      continue;
    }
    scope->set(parameter.name, std::move(value));
  }
  if (!bind_macro_extras(macro, arguments, scope)) return false;
  for (const Parameter* parameter : missing) {
    const std::string& name = template_.names[static_cast<std::size_t>(parameter->name)];
    Value value = parameter->default_value != nullptr
                      ? evaluate(*parameter->default_value)
                      : context_.undefined("parameter " + quote(name) + " was not provided");
    if (failed()) return false;
    scope->set(parameter->name, std::move(value));
  }
  return !failed();
}

/// Sets caller, varargs and kwargs where the macro uses them; arguments it cannot take are errors.
bool Interpreter::bind_macro_extras(const Macro& macro, Arguments* arguments, Scope* scope) {
  const MacroDefinition& definition = *macro.definition;
  const std::string title = "macro " + quote(definition.title);
  const std::size_t n_parameters = definition.parameters.size();
  if (definition.uses_caller) {
    Value caller;
    if (!take_named(arguments, "caller", &caller)) caller = context_.undefined("No caller defined");
    scope->set(caller_name_, std::move(caller));
  }
  if (definition.uses_kwargs) {
    std::vector<Dict::Entry> entries;
    for (auto& [name, value] : arguments->named) entries.emplace_back(context_.text(name), value);
    if (failed()) return false;
    scope->set(kwargs_name_, context_.dict(std::move(entries)));
  } else if (!arguments->named.empty()) {
    context_.fail(title + " takes no keyword argument " + quote(arguments->named.front().first));
    return false;
  }
  if (definition.uses_varargs) {
    std::vector<Value> rest;
    for (std::size_t i = n_parameters; i < arguments->positional.size(); ++i) {
      rest.push_back(arguments->positional[i]);
    }
    scope->set(varargs_name_, context_.list(std::move(rest), ListKind::tuple));
  } else if (arguments->positional.size() > n_parameters) {
    context_.fail(title + " takes not more than " + std::to_string(n_parameters) + " argument(s)");
  }
  return !failed();
}

Value Interpreter::call_loop(Loop* loop, const Arguments& arguments) {
  Bound bound;
  if (!bind(&context_, "loop", arguments, {"iterable"}, 1, &bound)) return {};
  if (loop->statement == nullptr) {
    return context_.fail("The loop must have the 'recursive' marker to be called recursively.");
  }
  if (!enter()) return {};
  Value result;
  {
    const ScopeGuard guard(this, loop->scope);
    Capture capture(this);
    run_loop(*loop->statement, bound.values[0], loop->depth0 + 1);
    result = capture.text();
  }
  leave();
  return result;
}

}  // namespace runnel::jinja
