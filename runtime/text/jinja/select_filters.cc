// Filters that apply a filter or a test to every item: map, select, reject, selectattr, rejectattr.
#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/predicates.h"
#include "runtime/text/jinja/print.h"

namespace runnel::jinja {
namespace {

constexpr char kGenerator[] = "<generator object>";

/// The arguments after the first `n`.
Arguments without_first(const Arguments& arguments, std::size_t n) {
  Arguments rest;
  for (std::size_t i = n; i < arguments.positional.size(); ++i) {
    rest.positional.push_back(arguments.positional[i]);
  }
  rest.named = arguments.named;
  return rest;
}

/// What map() does to each item: takes an attribute, or applies a filter.
struct Mapping {
  Value path;           // of the attribute; None for a filter
  Value default_value;  // None: undefined stays undefined
  std::string filter;
  Arguments arguments;

  Value apply(Context* context, const Value& item) const {
    if (!filter.empty()) return call_filter(context, filter, item, arguments);
    const Value found = follow_path(context, item, path);
    return found.is_undefined() && !default_value.is_none() ? default_value : found;
  }
};

bool read_mapping(Context* context, const Arguments& arguments, Mapping* out) {
  if (arguments.positional.empty()) {
    Bound bound;
    if (arguments.named.empty()) {
      context->fail("map requires a filter argument");
      return false;
    }
    if (!bind(context, "map", arguments, {"attribute", "default"}, 1, &bound)) return false;
    out->path = bound.values[0];
    out->default_value = bound.values[1];
    return true;
  }
  if (!arguments.positional[0].is_text()) {
    context->fail("No filter named " + to_repr(context, arguments.positional[0]) + ".");
    return false;
  }
  out->filter = arguments.positional[0].text().bytes;
  out->arguments = without_first(arguments, 1);
  return true;
}

Value map(Context* context, const Value& value, const Arguments& arguments) {
  if (!is_true(value)) return context->list({}, ListKind::generator, kGenerator);
  const Value items = iterate(context, value);
  if (context->failed()) return {};
  std::vector<Value> mapped;
  Mapping mapping;
  if (!items.list().items.empty() && !read_mapping(context, arguments, &mapping)) return {};
  for (const Value& item : items.list().items) {
    if (!context->fits(mapped.size(), 2 * sizeof(Value))) return {};
    mapped.push_back(mapping.apply(context, item));
    if (context->failed()) return {};
  }
  return context->list(std::move(mapped), ListKind::generator, kGenerator);
}

struct Selection {
  bool keeps;           // the items for which the test holds, else the others
  bool uses_attribute;  // the first argument names what is tested
};

Value select_where(Context* context,
                   const Value& value,
                   const Arguments& arguments,
                   Selection selection) {
  if (!is_true(value)) return context->list({}, ListKind::generator, kGenerator);
  const Value items = iterate(context, value);
  if (context->failed()) return {};
  const std::size_t n_paths = selection.uses_attribute ? 1 : 0;
  const std::vector<Value>& given = arguments.positional;
  if (!items.list().items.empty() && given.size() < n_paths) {
    return context->fail("Missing parameter for attribute name");
  }
  const bool has_test = given.size() > n_paths;
  if (has_test && !given[n_paths].is_text()) {
    return context->fail("No test named " + to_repr(context, given[n_paths]) + ".");
  }
  const Arguments rest = without_first(arguments, n_paths + 1);
  std::vector<Value> kept;
  for (const Value& item : items.list().items) {
    const Value tested = n_paths > 0 ? follow_path(context, item, given[0]) : item;
    const bool holds = has_test ? call_predicate(context, given[n_paths].text().bytes, tested, rest)
                                : is_true(tested);
    if (!context->work(1)) return {};
    if (holds == selection.keeps) kept.push_back(item);
  }
  return context->list(std::move(kept), ListKind::generator, kGenerator);
}

template <bool kKeeps, bool kUsesAttribute>
Value select(Context* context, const Value& value, const Arguments& arguments) {
  return select_where(context, value, arguments, {kKeeps, kUsesAttribute});
}

constexpr FilterRow kRows[] = {
    {"map", map},
    {"reject", select<false, false>},
    {"rejectattr", select<false, true>},
    {"select", select<true, false>},
    {"selectattr", select<true, true>},
};

}  // namespace

std::span<const FilterRow> select_filters() {
  return kRows;
}

}  // namespace runnel::jinja
