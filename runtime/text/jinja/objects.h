// The engine's own objects: namespaces, macros, loops, cyclers, joiners, functions and methods.
#pragma once
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/text/jinja/ast.h"
#include "runtime/text/jinja/context.h"
#include "runtime/text/jinja/value.h"

namespace runnel::jinja {

/// Variables of a block, a loop round or a macro call. A name is looked up here, then in the
/// scope around it in the source. shared_ptr: macros keep the scope they were defined in.
struct Scope {
  explicit Scope(std::shared_ptr<Scope> outer) : parent(std::move(outer)) {}

  const Value* find(Symbol name) const;
  void set(Symbol name, Value value);

  void clear();

  std::vector<std::pair<Symbol, Value>> variables;
  std::map<Symbol, std::size_t> places;  // of all variables, once there are many
  std::shared_ptr<Scope> parent;
};

struct Namespace : Object {
  Namespace() : Object(ObjectKind::name_space) {}
  void clear() override { values.clear(); }
  const Value* find(std::string_view name) const;
  void set(std::string_view name, Value value);

  std::vector<std::pair<std::string, Value>> values;  // in the order of their first assignment
  std::map<std::string, std::size_t, std::less<>> places;
};

struct Macro : Object {
  Macro(const MacroDefinition* given, std::shared_ptr<Scope> around)
      : Object(ObjectKind::macro), definition(given), scope(std::move(around)) {}
  void clear() override {
    if (scope != nullptr) scope->clear();
    scope.reset();
  }

  const MacroDefinition* definition;
  std::shared_ptr<Scope> scope;
};

/// State of one for loop. Cleared when the loop ends, so that it cannot keep values alive.
struct Loop : Object {
  Loop() : Object(ObjectKind::loop) {}
  void clear() override;

  const Statement* statement = nullptr;  // of a recursive loop
  std::shared_ptr<Scope> scope;          // around the loop
  Value items;                           // a list; None after the loop
  std::size_t index = 0;
  std::size_t length = 0;
  int depth0 = 0;
  Value last_changed;  // arguments of the last loop.changed(), None before it
};

struct Cycler : Object {
  Cycler() : Object(ObjectKind::cycler) {}
  Value items;  // a tuple, not empty
  std::size_t position = 0;
};

struct Joiner : Object {
  Joiner() : Object(ObjectKind::joiner) {}
  Value separator;
  bool is_used = false;
};

enum class FunctionKind : std::uint8_t {
  range,
  dict,
  name_space,
  cycler,
  joiner,
  lipsum,
  raise_exception,
  strftime_now
};

struct Function : Object {
  Function(FunctionKind which, std::string_view title)
      : Object(ObjectKind::function), function(which), name(title) {}
  FunctionKind function;
  std::string_view name;
};

/// A method taken from a value without calling it yet: x.upper.
struct Method : Object {
  Method(Value owner, std::string_view title)
      : Object(ObjectKind::method), self(std::move(owner)), name(title) {}
  Value self;
  std::string_view name;
};

/// Arguments of a call, evaluated.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// The arguments of one call matched to parameter names.
struct Bound {
  static constexpr std::size_t kMost = 5;
  Value values[kMost];
  bool is_given[kMost] = {};
};

/// Matches arguments with `names` (at most Bound::kMost), of which the first `n_required` must be
/// given. False, with an error that names `function`, when they do not fit.
bool bind(Context* context,
          std::string_view function,
          const Arguments& arguments,
          std::initializer_list<std::string_view> names,
          std::size_t n_required,
          Bound* out);

/// Appends repr(object).
bool append_object(Context* context, const Object& object, TextBuilder* out);

}  // namespace runnel::jinja
