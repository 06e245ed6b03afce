#include "runtime/text/jinja/predicates.h"

#include <algorithm>

#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/print.h"

namespace runnel::jinja {
namespace {

/// Tests without argument.
enum class Unary : std::uint8_t {
  boolean,
  callable,
  defined,
  escaped,
  even,
  false_,
  filter,
  float_,
  integer,
  iterable,
  lower,
  mapping,
  none,
  number,
  odd,
  sequence,
  string,
  test,
  true_,
  undefined,
  upper
};

struct UnaryRow {
  std::string_view name;
  Unary test;
};

constexpr UnaryRow kUnary[] = {
    {"boolean", Unary::boolean},   {"callable", Unary::callable},   {"defined", Unary::defined},
    {"escaped", Unary::escaped},   {"even", Unary::even},           {"false", Unary::false_},
    {"filter", Unary::filter},     {"float", Unary::float_},        {"integer", Unary::integer},
    {"iterable", Unary::iterable}, {"lower", Unary::lower},         {"mapping", Unary::mapping},
    {"none", Unary::none},         {"number", Unary::number},       {"odd", Unary::odd},
    {"sequence", Unary::sequence}, {"string", Unary::string},       {"test", Unary::test},
    {"true", Unary::true_},        {"undefined", Unary::undefined}, {"upper", Unary::upper},
};

struct CompareRow {
  std::string_view name;
  Operator operation;
};

constexpr CompareRow kCompare[] = {
    {"==", Operator::equal},         {"eq", Operator::equal},
    {"equalto", Operator::equal},    {"!=", Operator::not_equal},
    {"ne", Operator::not_equal},     {">", Operator::greater},
    {"gt", Operator::greater},       {"greaterthan", Operator::greater},
    {">=", Operator::greater_equal}, {"ge", Operator::greater_equal},
    {"<", Operator::less},           {"lt", Operator::less},
    {"lessthan", Operator::less},    {"<=", Operator::less_equal},
    {"le", Operator::less_equal},    {"in", Operator::in},
};

template <class Row, std::size_t N>
const Row* find_row(const Row (&rows)[N], std::string_view name) {
  const Row* found = std::find_if(rows, rows + N, [&](const Row& row) { return row.name == name; });
  return found == rows + N ? nullptr : found;
}

bool is_multiple(Context* context, const Value& value, const Value& divisor, std::int64_t rest) {
  const Value remainder = arithmetic(context, Operator::modulo, value, divisor);
  return !context->failed() && equal(context, remainder, Value(rest));
}

bool holds(Context* context, Unary test, const Value& value) {
  switch (test) {
    case Unary::boolean:
      return value.kind() == Kind::boolean;
    case Unary::callable:
      return value.is_undefined() ||  // in Python an undefined value can be called, and fails then
             (value.kind() == Kind::object && !value.is_object(ObjectKind::name_space) &&
              !value.is_object(ObjectKind::cycler));
    case Unary::defined:
      return !value.is_undefined();
    case Unary::escaped:
      return value.is_text() && value.text().is_safe;
    case Unary::even:
      return is_multiple(context, value, Value(std::int64_t{2}), 0);
    case Unary::odd:
      return is_multiple(context, value, Value(std::int64_t{2}), 1);
    case Unary::false_:
      return value.kind() == Kind::boolean && !value.boolean();
    case Unary::true_:
      return value.kind() == Kind::boolean && value.boolean();
    case Unary::filter:
      return value.is_text() && is_filter(value.text().bytes);
    case Unary::test:
      return value.is_text() && is_predicate(value.text().bytes);
    case Unary::float_:
      return value.kind() == Kind::real;
    case Unary::integer:
      return value.kind() == Kind::integer;
    case Unary::number:
      return value.is_number();
    case Unary::iterable:
      return value.is_list() || value.is_dict() || value.is_text() || value.is_undefined() ||
             value.is_object(ObjectKind::loop);
    case Unary::lower:
    case Unary::upper:
      return has_only_case(to_text(context, value), test == Unary::upper);
    case Unary::mapping:
      return value.is_dict();
    case Unary::none:
      return value.is_none();
    case Unary::sequence:
      return value.is_undefined() || value.is_dict() || value.is_text() ||
             value.is_list(ListKind::list) || value.is_list(ListKind::tuple) ||
             value.is_list(ListKind::range);
    case Unary::string:
      return value.is_text();
    case Unary::undefined:
      break;
  }
  return value.is_undefined();
}

/// Python's `is`.
bool is_same(const Value& a, const Value& b) {
  if (a.is_text() && b.is_text()) return a.same(b) || a.text().bytes == b.text().bytes;
  return a.same(b);
}

}  // namespace

bool is_predicate(std::string_view name) {
  return find_row(kUnary, name) != nullptr || find_row(kCompare, name) != nullptr ||
         name == "divisibleby" || name == "sameas";
}

bool call_predicate(Context* context,
                    std::string_view name,
                    const Value& value,
                    const Arguments& arguments) {
  if (!context->work(1)) return false;
  Bound bound;
  if (const UnaryRow* row = find_row(kUnary, name)) {
    return bind(context, name, arguments, {}, 0, &bound) && holds(context, row->test, value);
  }
  if (const CompareRow* row = find_row(kCompare, name)) {
    return bind(context, name, arguments, {"other"}, 1, &bound) &&
           compare(context, row->operation, value, bound.values[0]);
  }
  if (name == "divisibleby") {
    return bind(context, name, arguments, {"num"}, 1, &bound) &&
           is_multiple(context, value, bound.values[0], 0);
  }
  if (name == "sameas") {
    return bind(context, name, arguments, {"other"}, 1, &bound) && is_same(value, bound.values[0]);
  }
  context->fail("No test named " + in_quotes(name) + ".");
  return false;
}

}  // namespace runnel::jinja
