// Filters over lists, dicts and any value: default, first, list, batch, items ...
#include <algorithm>

#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/methods.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/print.h"

namespace runnel::jinja {
namespace {

constexpr char kGenerator[] = "<generator object>";

Value attr(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "attr", arguments, {"name"}, 1, &bound)) return {};
  if (!bound.values[0].is_text()) return context->fail("attribute name must be string");
  if (!reject_undefined(context, value)) return {};
  const std::string& name = bound.values[0].text().bytes;
  Value found;
  if (find_attribute(context, value, name, &found)) return found;
  return context->undefined(in_quotes(std::string(type_name(value)) + " object") +
                            " has no attribute " + quote(name));
}

Value batch(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "batch", arguments, {"linecount", "fill_with"}, 1, &bound)) return {};
  if (!bound.values[0].is_integral()) return context->fail("batch() needs an integer");
  const Value items = iterate(context, value);
  if (context->failed()) return {};
  // A line count that no line reaches puts all items into one line.
  const std::int64_t wanted = bound.values[0].integer();
  const auto size = static_cast<std::size_t>(std::max<std::int64_t>(wanted, 0));
  const Value& fill = bound.values[1];
  std::vector<Value> lines;
  std::vector<Value> line;
  for (const Value& item : items.list().items) {
    if (line.size() == size && (size > 0 || line.empty()) && (size > 0 || wanted == 0)) {
      lines.push_back(context->list(std::exchange(line, {})));
      if (context->failed()) return {};
    }
    line.push_back(item);
  }
  if (!line.empty()) {
    if (!fill.is_none() && line.size() < size) {
      if (!context->fits(size, sizeof(Value))) return {};
      line.resize(size, fill);
    }
    lines.push_back(context->list(std::move(line)));
  }
  return context->failed() ? Value()
                           : context->list(std::move(lines), ListKind::generator, kGenerator);
}

Value default_value(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "default", arguments, {"default_value", "boolean"}, 0, &bound)) return {};
  const bool is_missing = value.is_undefined() || (is_true(bound.values[1]) && !is_true(value));
  if (!is_missing) return value;
  return bound.is_given[0] ? bound.values[0] : context->text("");
}

Value first(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "first", arguments, {}, 0, &bound)) return {};
  if (value.is_text() && !value.text().bytes.empty()) {
    return get_item(context, value, Value(std::int64_t{0}));
  }
  const Value items = iterate(context, value);
  if (context->failed()) return {};
  if (items.list().items.empty()) {
    return context->undefined("No first item, sequence was empty.");
  }
  return items.list().items.front();
}

Value last(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "last", arguments, {}, 0, &bound)) return {};
  if (value.is_text() && !value.text().bytes.empty()) {
    return get_item(context, value, Value(std::int64_t{-1}));
  }
  if (value.is_list(ListKind::generator)) {
    return context->fail("'generator' object is not reversible");
  }
  const Value items = iterate(context, value);
  if (context->failed()) return {};
  if (items.list().items.empty()) {
    return context->undefined("No last item, sequence was empty.");
  }
  return items.list().items.back();
}

Value items(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "items", arguments, {}, 0, &bound)) return {};
  if (value.is_undefined()) return context->list({}, ListKind::generator, kGenerator);
  if (!value.is_dict()) return context->fail("Can only get item pairs from a mapping.");
  const Value view = call_method(context, value, "items", {});
  if (context->failed()) return {};
  return context->list(view.list().items, ListKind::generator, kGenerator);
}

Value length(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  std::int64_t count = 0;
  if (!bind(context, "length", arguments, {}, 0, &bound)) return {};
  return length_of(context, value, &count) ? Value(count) : Value();
}

Value list(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "list", arguments, {}, 0, &bound)) return {};
  const Value walked = iterate(context, value);
  if (context->failed()) return {};
  if (!context->fits(walked.list().items.size(), sizeof(Value))) return {};
  return context->list(walked.list().items);
}

Value reverse(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "reverse", arguments, {}, 0, &bound)) return {};
  if (value.is_text()) return slice(context, value, {}, {}, Value(std::int64_t{-1}));
  if (value.is_none() || value.is_number()) return context->fail("argument must be iterable");
  const Value walked = iterate(context, value);
  if (context->failed() || !context->fits(walked.list().items.size(), sizeof(Value))) return {};
  std::vector<Value> reversed(walked.list().items.rbegin(), walked.list().items.rend());
  return context->list(std::move(reversed), ListKind::generator, "<list_reverseiterator object>");
}

Value slice_into(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "slice", arguments, {"slices", "fill_with"}, 1, &bound)) return {};
  if (!bound.values[0].is_integral()) return context->fail("slice() needs an integer");
  const std::int64_t wanted = bound.values[0].integer();
  const Value walked = iterate(context, value);
  if (context->failed()) return {};
  if (wanted == 0) return context->fail("integer division or modulo by zero");
  const auto slices = static_cast<std::size_t>(std::max<std::int64_t>(wanted, 0));
  if (!context->fits(slices, sizeof(List)) || !context->work(slices)) return {};
  const std::vector<Value>& all = walked.list().items;
  const Value& fill = bound.values[1];
  std::vector<Value> parts;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < slices; ++i) {
    const bool has_extra = i < all.size() % slices;
    const std::size_t end = begin + all.size() / slices + (has_extra ? 1 : 0);
    std::vector<Value> part;
    for (; begin < end; ++begin) part.push_back(all[begin]);
    if (!fill.is_none() && !has_extra) part.push_back(fill);
    parts.push_back(context->list(std::move(part)));
    if (context->failed()) return {};
  }
  return context->list(std::move(parts), ListKind::generator, kGenerator);
}

Value random(Context* context, const Value&, const Arguments&) {
  return context->fail_unsupported("the filter 'random' is not supported");
}

constexpr FilterRow kRows[] = {
    {"attr", attr},
    {"batch", batch},
    {"count", length},
    {"d", default_value},
    {"default", default_value},
    {"first", first},
    {"items", items},
    {"last", last},
    {"length", length},
    {"list", list},
    {"random", random},
    {"reverse", reverse},
    {"slice", slice_into},
};

}  // namespace

std::span<const FilterRow> list_filters() {
  return kRows;
}

}  // namespace runnel::jinja
