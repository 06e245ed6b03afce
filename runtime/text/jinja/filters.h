// Filters: value|name(arguments).
#pragma once
#include <span>
#include <string_view>

#include "runtime/text/jinja/context.h"
#include "runtime/text/jinja/objects.h"
#include "runtime/text/jinja/value.h"

namespace runnel::jinja {

using FilterFunction = Value (*)(Context* context, const Value& value, const Arguments& arguments);

struct FilterRow {
  std::string_view name;
  FilterFunction apply;
};

bool is_filter(std::string_view name);
/// "No filter named ..." when there is none.
Value call_filter(Context* context,
                  std::string_view name,
                  const Value& value,
                  const Arguments& arguments);

/// Rows of one file each; filters.cc joins them.
std::span<const FilterRow> text_filters();
std::span<const FilterRow> list_filters();
std::span<const FilterRow> select_filters();
std::span<const FilterRow> order_filters();
std::span<const FilterRow> number_filters();

/// The attribute that a filter argument names: "a.b.0", an index, or none for the value itself.
Value follow_path(Context* context, const Value& value, const Value& path);
/// Lower case of text, other values as they are: the key of sorting without case.
Value without_case(Context* context, const Value& value);

}  // namespace runnel::jinja
