#include "runtime/text/jinja/value.h"

#include <algorithm>
#include <cmath>

namespace runnel::jinja {
namespace {

template <class T>
int three_way(const T& a, const T& b) {
  return a < b ? -1 : (b < a ? 1 : 0);
}

int key_rank(const Value& value) {
  if (value.is_none()) return 0;
  if (value.is_number()) return 1;
  return value.is_text() ? 2 : 3;
}

int compare_tuples(const List& a, const List& b) {
  const std::size_t common = std::min(a.items.size(), b.items.size());
  for (std::size_t i = 0; i < common; ++i) {
    if (const int order = compare_keys(a.items[i], b.items[i]); order != 0) return order;
  }
  return three_way(a.items.size(), b.items.size());
}

/// Of an integer and a float that is not NaN.
int compare_mixed(std::int64_t a, double b) {
  if (b >= 0x1.0p63) return -1;
  if (b < -0x1.0p63) return 1;
  const double whole = std::floor(b);
  const auto b_integer = static_cast<std::int64_t>(whole);
  if (a != b_integer) return three_way(a, b_integer);
  return b > whole ? -1 : 0;
}

}  // namespace

bool Value::is_object(ObjectKind wanted) const {
  return kind() == Kind::object && object().kind == wanted;
}

bool Value::is_list(ListKind wanted) const {
  return is_list() && list().kind == wanted;
}

int Value::height() const {
  switch (kind()) {
    case Kind::list:
      return list().height;
    case Kind::dict:
      return dict().height;
    case Kind::object:
      return object().height;
    default:
      return 0;
  }
}

int compare_numbers(const Value& a, const Value& b) {
  const bool a_nan = a.kind() == Kind::real && std::isnan(a.real());
  const bool b_nan = b.kind() == Kind::real && std::isnan(b.real());
  if (a_nan || b_nan) return three_way(b_nan, a_nan);
  if (a.is_integral() && b.is_integral()) return three_way(a.integer(), b.integer());
  if (a.is_integral()) return compare_mixed(a.integer(), b.real());
  if (b.is_integral()) return -compare_mixed(b.integer(), a.real());
  return three_way(a.real(), b.real());
}

int compare_keys(const Value& a, const Value& b) {
  const int rank = key_rank(a);
  if (rank != key_rank(b)) return three_way(rank, key_rank(b));
  switch (rank) {
    case 0:
      return 0;
    case 1:
      return compare_numbers(a, b);
    case 2:
      return a.text().bytes.compare(b.text().bytes);
    default:
      return compare_tuples(a.list(), b.list());
  }
}

bool is_hashable(const Value& value) {
  if (!value.is_list(ListKind::tuple)) {
    return value.is_none() || value.is_number() || value.is_text();
  }
  const auto is_scalar = [](const Value& item) {
    return item.is_none() || item.is_number() || item.is_text();
  };
  return std::all_of(value.list().items.begin(), value.list().items.end(), is_scalar);
}

const Value* Dict::find(const Value& key) const {
  const auto before = [&](std::uint32_t index, const Value& wanted) {
    return compare_keys(items[index].first, wanted) < 0;
  };
  const auto at = std::lower_bound(order.begin(), order.end(), key, before);
  if (at == order.end() || compare_keys(items[*at].first, key) != 0) return nullptr;
  return &items[*at].second;
}

const Value* Dict::find(std::string_view key) const {
  const auto before = [&](std::uint32_t index, std::string_view wanted) {
    const Value& held = items[index].first;
    return held.is_text() ? held.text().bytes < wanted : key_rank(held) < 2;
  };
  const auto at = std::lower_bound(order.begin(), order.end(), key, before);
  if (at == order.end()) return nullptr;
  const auto& [held, value] = items[*at];
  return held.is_text() && held.text().bytes == key ? &value : nullptr;
}

bool is_true(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
    case Kind::integer:
      return value.integer() != 0;
    case Kind::real:
      return value.real() != 0.0;
    case Kind::text:
      return !value.text().bytes.empty();
    case Kind::list:
      return value.list().kind == ListKind::generator || !value.list().items.empty();
    case Kind::dict:
      return !value.dict().items.empty();
    case Kind::object:
      break;
  }
  return true;
}

std::string_view type_name(const Value& value) {
  constexpr std::string_view kLists[] = {"list", "tuple", "range", "generator", "dict_items"};
  constexpr std::string_view kObjects[] = {"jinja2.utils.Namespace",     "jinja2.runtime.Macro",
                                           "jinja2.runtime.LoopContext", "jinja2.utils.Cycler",
                                           "jinja2.utils.Joiner",        "function",
                                           "builtin_function_or_method"};
  switch (value.kind()) {
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "NoneType";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::real:
      return "float";
    case Kind::text:
      return value.text().is_safe ? "Markup" : "str";
    case Kind::list:
      if (value.list().kind == ListKind::dict_view) return value.list().label;
      return kLists[static_cast<std::size_t>(value.list().kind)];
    case Kind::dict:
      return "dict";
    case Kind::object:
      break;
  }
  return kObjects[static_cast<std::size_t>(value.object().kind)];
}

}  // namespace runnel::jinja
