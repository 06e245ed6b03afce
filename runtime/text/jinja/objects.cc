#include "runtime/text/jinja/objects.h"

#include <algorithm>

#include "runtime/text/jinja/print.h"

namespace runnel::jinja {

namespace {

constexpr std::size_t kFewVariables = 32;  // up to here a linear search is fastest

}  // namespace

const Value* Scope::find(Symbol name) const {
  if (!places.empty()) {
    const auto place = places.find(name);
    return place == places.end() ? nullptr : &variables[place->second].second;
  }
  for (const auto& [held, value] : variables) {
    if (held == name) return &value;
  }
  return nullptr;
}

void Scope::set(Symbol name, Value value) {
  if (const Value* old = find(name)) {
    *const_cast<Value*>(old) = std::move(value);
    return;
  }
  variables.emplace_back(name, std::move(value));
  if (variables.size() <= kFewVariables) return;
  if (places.empty()) {
    for (std::size_t i = 0; i < variables.size(); ++i) places.emplace(variables[i].first, i);
  } else {
    places.emplace(name, variables.size() - 1);
  }
}

void Scope::clear() {
  variables.clear();
  places.clear();
}

const Value* Namespace::find(std::string_view name) const {
  const auto place = places.find(name);
  return place == places.end() ? nullptr : &values[place->second].second;
}

void Namespace::set(std::string_view name, Value value) {
  const auto [place, is_new] = places.emplace(std::string(name), values.size());
  if (is_new) {
    values.emplace_back(std::string(name), std::move(value));
  } else {
    values[place->second].second = std::move(value);
  }
}

void Loop::clear() {
  items = Value();
  last_changed = Value();
  scope.reset();
  statement = nullptr;
}

bool bind(Context* context,
          std::string_view function,
          const Arguments& arguments,
          std::initializer_list<std::string_view> names,
          std::size_t n_required,
          Bound* out) {
  const std::string title = std::string(function) + "()";
  if (arguments.positional.size() > names.size()) {
    context->fail(title + " takes at most " + std::to_string(names.size()) + " arguments (" +
                  std::to_string(arguments.positional.size()) + " given)");
    return false;
  }
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
    out->values[i] = arguments.positional[i];
    out->is_given[i] = true;
  }
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(names.begin(), names.end(), name);
    const auto index = static_cast<std::size_t>(found - names.begin());
    if (found == names.end() || out->is_given[index]) {
      context->fail(title +
                    (found == names.end() ? " got an unexpected keyword argument "
                                          : " got multiple values for argument ") +
                    in_quotes(name));
      return false;
    }
    out->values[index] = value;
    out->is_given[index] = true;
  }
  for (std::size_t i = 0; i < n_required; ++i) {
    if (out->is_given[i]) continue;
    context->fail(title + " missing required argument " + in_quotes(names.begin()[i]));
    return false;
  }
  return true;
}

namespace {

/// A namespace inside a namespace may be a cycle, or a chain of any length: only a few levels of
/// them are shown.
constexpr int kNamespaceLevels = 8;

bool append_namespace(Context* context, const Namespace& space, TextBuilder* out) {
  if (out->namespace_level == kNamespaceLevels) return out->append("<Namespace {...}>");
  ++out->namespace_level;
  if (!out->append("<Namespace {")) return false;
  for (std::size_t i = 0; i < space.values.size(); ++i) {
    const auto& [name, value] = space.values[i];
    if (!out->append((i > 0 ? ", " : "") + quote(name) + ": ")) return false;
    if (!append_repr(context, value, out)) return false;
  }
  --out->namespace_level;
  return out->append("}>");
}

}  // namespace

bool append_object(Context* context, const Object& object, TextBuilder* out) {
  switch (object.kind) {
    case ObjectKind::name_space:
      return append_namespace(context, static_cast<const Namespace&>(object), out);
    case ObjectKind::macro: {
      const auto* macro = static_cast<const Macro&>(object).definition;
      return out->append("<Macro " + (macro->name < 0 ? "anonymous" : quote(macro->title)) + ">");
    }
    case ObjectKind::loop: {
      const auto& loop = static_cast<const Loop&>(object);
      return out->append("<LoopContext " + std::to_string(loop.index + 1) + "/" +
                         std::to_string(loop.length) + ">");
    }
    case ObjectKind::cycler:
      return out->append("<Cycler>");
    case ObjectKind::joiner:
      return out->append("<Joiner>");
    case ObjectKind::function:
      return out->append("<function " + std::string(static_cast<const Function&>(object).name) +
                         ">");
    case ObjectKind::method:
      break;
  }
  const auto& method = static_cast<const Method&>(object);
  return out->append("<built-in method " + std::string(method.name) + " of " +
                     std::string(type_name(method.self)) + " object>");
}

}  // namespace runnel::jinja
