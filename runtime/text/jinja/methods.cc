#include "runtime/text/jinja/methods.h"

#include <algorithm>

#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/print.h"

namespace runnel::jinja {
namespace {

constexpr std::string_view kDictMethods[] = {"get", "items", "keys", "values", "copy"};
constexpr std::string_view kDictMutators[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kListMethods[] = {"index", "count", "copy"};
constexpr std::string_view kListMutators[] = {"append", "reverse", "insert", "sort",
                                              "extend", "remove",  "pop",    "clear"};
constexpr std::string_view kLoopMethods[] = {"cycle", "changed"};
constexpr std::string_view kCyclerMethods[] = {"next", "reset"};

template <std::size_t N>
std::string_view find_name(const std::string_view (&names)[N], std::string_view name) {
  const auto* found = std::find(names, names + N, name);
  return found == names + N ? std::string_view() : *found;
}

Value call_dict_method(Context* context,
                       const Value& self,
                       std::string_view name,
                       const Arguments& arguments) {
  const Dict& dict = self.dict();
  Bound bound;
  if (name == "get") {
    if (!bind(context, "get", arguments, {"key", "default"}, 1, &bound)) return {};
    if (!is_hashable(bound.values[0])) {
      return context->fail("unhashable type: " + in_quotes(type_name(bound.values[0])));
    }
    const Value* found = dict.find(bound.values[0]);
    return found != nullptr ? *found : bound.values[1];
  }
  if (!bind(context, name, arguments, {}, 0, &bound)) return {};
  if (name == "copy") return self;
  if (!context->fits(dict.items.size(), sizeof(Value) + (name == "items" ? sizeof(List) : 0))) {
    return {};
  }
  std::vector<Value> items;
  items.reserve(dict.items.size());
  for (const auto& [key, value] : dict.items) {
    if (name == "items") {
      items.push_back(context->list({key, value}, ListKind::tuple));
    } else {
      items.push_back(name == "keys" ? key : value);
    }
    if (context->failed()) return {};
  }
  return context->list(std::move(items), ListKind::dict_view, "dict_" + std::string(name));
}

Value call_list_method(Context* context,
                       const Value& self,
                       std::string_view name,
                       const Arguments& arguments) {
  Bound bound;
  const List& list = self.list();
  if (name == "copy") {
    if (!bind(context, name, arguments, {}, 0, &bound)) return {};
    return self;
  }
  if (!bind(context, name, arguments, {"value"}, 1, &bound)) return {};
  std::int64_t count = 0;
  for (std::size_t i = 0; i < list.items.size() && !context->failed(); ++i) {
    if (!list.items[i].same(bound.values[0]) && !equal(context, list.items[i], bound.values[0])) {
      continue;
    }
    if (name == "index") return Value(static_cast<std::int64_t>(i));
    ++count;
  }
  if (name == "count") return Value(count);
  return context->fail(to_repr(context, bound.values[0]) + " is not in list");
}

Value call_loop_method(Context* context,
                       Loop* loop,
                       std::string_view name,
                       const Arguments& arguments) {
  if (!arguments.named.empty()) return context->fail("loop methods take no keyword arguments");
  const std::vector<Value>& given = arguments.positional;
  if (name == "cycle") {
    if (given.empty()) return context->fail("no items for cycling given");
    return given[loop->index % given.size()];
  }
  const Value now = context->list(given, ListKind::tuple);
  if (context->failed()) return {};
  const bool is_first = loop->last_changed.is_none();
  const bool has_changed = is_first || !equal(context, loop->last_changed, now);
  // After the loop nothing is kept: it could be the loop itself.
  if (!loop->items.is_none()) loop->last_changed = now;
  return Value(has_changed);
}

Value call_cycler_method(Context* context,
                         Cycler* cycler,
                         std::string_view name,
                         const Arguments& arguments) {
  Bound bound;
  if (!bind(context, name, arguments, {}, 0, &bound)) return {};
  const std::vector<Value>& items = cycler->items.list().items;
  if (name == "reset") {
    cycler->position = 0;
    return {};
  }
  const Value& current = items[cycler->position];
  cycler->position = (cycler->position + 1) % items.size();
  return current;
}

bool find_loop_attribute(Context* context, const Loop& loop, std::string_view name, Value* out) {
  struct Counter {
    std::string_view name;
    std::size_t value;
  };
  const std::size_t index = loop.index;
  const Counter counters[] = {
      {"index", index + 1},
      {"index0", index},
      {"revindex", loop.length - index},
      {"revindex0", loop.length - index - 1},
      {"length", loop.length},
      {"depth", static_cast<std::size_t>(loop.depth0) + 1},
      {"depth0", static_cast<std::size_t>(loop.depth0)},
  };
  for (const Counter& counter : counters) {
    if (counter.name != name) continue;
    *out = Value(static_cast<std::int64_t>(counter.value));
    return true;
  }
  const auto item = [&](std::size_t wanted, std::string_view message) {
    const bool exists = loop.items.is_list() && wanted < loop.length;
    return exists ? loop.items.list().items[wanted] : context->undefined(std::string(message));
  };
  if (name == "first") {
    *out = Value(index == 0);
  } else if (name == "last") {
    *out = Value(index + 1 == loop.length);
  } else if (name == "previtem") {
    *out = item(index - 1, "there is no previous item");
  } else if (name == "nextitem") {
    *out = item(index + 1, "there is no next item");
  } else {
    return false;
  }
  return true;
}

bool find_macro_attribute(Context* context, const Macro& macro, std::string_view name, Value* out) {
  if (name != "name") return false;
  const bool is_named = macro.definition->name >= 0;
  *out = is_named ? context->text(macro.definition->title) : Value();
  return true;
}

}  // namespace

std::string_view find_method(const Value& value, std::string_view name) {
  std::string_view found;
  if (value.is_text()) return find_text_method(name);
  if (value.is_dict()) {
    found = find_name(kDictMethods, name);
    return found.empty() ? find_name(kDictMutators, name) : found;
  }
  if (value.is_list(ListKind::list)) {
    found = find_name(kListMethods, name);
    return found.empty() ? find_name(kListMutators, name) : found;
  }
  if (value.is_list(ListKind::tuple) || value.is_list(ListKind::range)) {
    return name == "copy" ? std::string_view() : find_name(kListMethods, name);
  }
  if (value.is_object(ObjectKind::loop)) return find_name(kLoopMethods, name);
  if (value.is_object(ObjectKind::cycler)) return find_name(kCyclerMethods, name);
  return {};
}

bool is_mutating_method(const Value& value, std::string_view name) {
  // SOURCE: Jinja's ImmutableSandboxedEnvironment; pop and clear of lists are missing there.
  if (value.is_dict()) return !find_name(kDictMutators, name).empty();
  return value.is_list(ListKind::list) && !find_name(kListMutators, name).empty();
}

Value call_method(Context* context,
                  const Value& self,
                  std::string_view name,
                  const Arguments& arguments) {
  if (!context->work(1)) return {};
  if (self.is_text()) return call_text_method(context, self, name, arguments);
  if (self.is_dict()) return call_dict_method(context, self, name, arguments);
  if (self.is_list()) return call_list_method(context, self, name, arguments);
  if (self.is_object(ObjectKind::loop)) {
    return call_loop_method(context, static_cast<Loop*>(&self.object()), name, arguments);
  }
  return call_cycler_method(context, static_cast<Cycler*>(&self.object()), name, arguments);
}

bool find_object_attribute(Context* context,
                           const Value& value,
                           std::string_view name,
                           Value* out) {
  const Object& object = value.object();
  switch (object.kind) {
    case ObjectKind::name_space: {
      const Value* found = static_cast<const Namespace&>(object).find(name);
      if (found == nullptr) return false;
      *out = *found;
      return true;
    }
    case ObjectKind::loop:
      return find_loop_attribute(context, static_cast<const Loop&>(object), name, out);
    case ObjectKind::macro:
      return find_macro_attribute(context, static_cast<const Macro&>(object), name, out);
    case ObjectKind::cycler: {
      if (name != "current") return false;
      const auto& cycler = static_cast<const Cycler&>(object);
      *out = cycler.items.list().items[cycler.position];
      return true;
    }
    default:
      return false;
  }
}

}  // namespace runnel::jinja
