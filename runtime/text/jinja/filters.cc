#include "runtime/text/jinja/filters.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/print.h"

namespace runnel::jinja {
namespace {

FilterFunction find_filter(std::string_view name) {
  const std::span<const FilterRow> tables[] = {text_filters(), list_filters(), select_filters(),
                                               order_filters(), number_filters()};
  for (const std::span<const FilterRow> table : tables) {
    for (const FilterRow& row : table) {
      if (row.name == name) return row.apply;
    }
  }
  return nullptr;
}

/// An index when all of `part` is digits, else the text itself.
Value path_part(Context* context, std::string_view part) {
  std::int64_t index = 0;
  const char* end = part.data() + part.size();
  const bool is_number = !part.empty() &&
                         part.find_first_not_of("0123456789") == std::string_view::npos &&
                         std::from_chars(part.data(), end, index).ec == std::errc();
  return is_number ? Value(index) : context->text(std::string(part));
}

}  // namespace

bool is_filter(std::string_view name) {
  return find_filter(name) != nullptr;
}

Value call_filter(Context* context,
                  std::string_view name,
                  const Value& value,
                  const Arguments& arguments) {
  if (!context->work(1)) return {};
  const FilterFunction apply = find_filter(name);
  if (apply == nullptr) return context->fail("No filter named " + in_quotes(name) + ".");
  return apply(context, value, arguments);
}

Value follow_path(Context* context, const Value& value, const Value& path) {
  if (path.is_none()) return value;
  if (!path.is_text()) return get_item(context, value, path);
  Value at = value;
  std::string_view rest = path.text().bytes;
  while (!context->failed()) {
    const std::size_t dot = std::min(rest.find('.'), rest.size());
    at = get_item(context, at, path_part(context, rest.substr(0, dot)));
    if (dot == rest.size()) break;
    rest.remove_prefix(dot + 1);
  }
  return at;
}

Value without_case(Context* context, const Value& value) {
  if (!value.is_text() || !context->fits(value.text().bytes.size(), 3)) return value;
  return context->text(to_lower(value.text().bytes));
}

}  // namespace runnel::jinja
