#include "runtime/text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "runtime/text/jinja/format.h"
#include "runtime/text/jinja/html.h"
#include "runtime/text/jinja/print.h"
#include "runtime/text/jinja/search.h"

namespace runnel::jinja {
namespace {

constexpr std::string_view kSymbols[] = {
    "+", "-", "*", "/", "//", "%", "** or pow()", "==", "!=", "<", "<=", ">", ">=", "in", "not in"};

std::string_view symbol_of(Operator operation) {
  return kSymbols[static_cast<std::size_t>(operation)];
}

Value fail_types(Context* context, Operator operation, const Value& left, const Value& right) {
  return context->fail("unsupported operand type(s) for " + std::string(symbol_of(operation)) +
                       ": " + in_quotes(type_name(left)) + " and " + in_quotes(type_name(right)));
}

Value unless_overflowed(Context* context, bool has_overflowed, const std::int64_t& result) {
  return has_overflowed ? context->fail("integer overflow") : Value(result);
}

Value integer_power(Context* context, std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) return context->fail("0.0 cannot be raised to a negative power");
    return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  std::int64_t result = 1;
  bool has_overflowed = false;
  bool square_overflowed = false;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0) {
      has_overflowed |= square_overflowed || __builtin_mul_overflow(result, base, &result);
    }
    square_overflowed |= exponent > 1 && __builtin_mul_overflow(base, base, &base);
  }
  return unless_overflowed(context, has_overflowed, result);
}

Value integer_arithmetic(Context* context, Operator operation, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  switch (operation) {
    case Operator::add:
      return unless_overflowed(context, __builtin_add_overflow(a, b, &result), result);
    case Operator::subtract:
      return unless_overflowed(context, __builtin_sub_overflow(a, b, &result), result);
    case Operator::multiply:
      return unless_overflowed(context, __builtin_mul_overflow(a, b, &result), result);
    case Operator::power:
      return integer_power(context, a, b);
    default:
      break;
  }
  if (b == 0) {
    if (operation == Operator::divide) return context->fail("division by zero");
    return context->fail(operation == Operator::modulo ? "integer modulo by zero"
                                                       : "integer division or modulo by zero");
  }
  if (operation == Operator::divide) {
    return Value(static_cast<double>(a) / static_cast<double>(b));
  }
  if (b == -1) {  // the one quotient that can overflow
    if (operation == Operator::modulo) return Value(std::int64_t{0});
    return unless_overflowed(context, __builtin_sub_overflow(std::int64_t{0}, a, &result), result);
  }
  std::int64_t quotient = a / b;
  std::int64_t remainder = a % b;
  if (remainder != 0 && (remainder < 0) != (b < 0)) {  // Python rounds down
    remainder += b;
    --quotient;
  }
  return Value(operation == Operator::modulo ? remainder : quotient);
}

Value real_power(Context* context, double a, double b) {
  if (a == 0.0 && b < 0.0) return context->fail("0.0 cannot be raised to a negative power");
  if (a < 0.0 && std::isfinite(b) && b != std::floor(b)) {
    return context->fail("complex numbers are not supported");
  }
  const double result = std::pow(a, b);
  if (std::isinf(result) && std::isfinite(a) && std::isfinite(b)) {
    return context->fail("(34, 'Numerical result out of range')");
  }
  return Value(result);
}

Value real_arithmetic(Context* context, Operator operation, double a, double b) {
  switch (operation) {
    case Operator::add:
      return Value(a + b);
    case Operator::subtract:
      return Value(a - b);
    case Operator::multiply:
      return Value(a * b);
    case Operator::power:
      return real_power(context, a, b);
    default:
      break;
  }
  if (b == 0.0) {
    constexpr std::string_view kMessages[] = {"float division by zero",
                                              "float floor division by zero", "float modulo"};
    return context->fail(std::string(
        kMessages[operation == Operator::divide ? 0 : (operation == Operator::modulo ? 2 : 1)]));
  }
  if (operation == Operator::divide) return Value(a / b);
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0.0 && (remainder < 0.0) != (b < 0.0)) {
    remainder += b;
    quotient -= 1.0;
  }
  if (remainder == 0.0) remainder = std::copysign(0.0, b);
  if (operation == Operator::modulo) return Value(remainder);
  if (quotient == 0.0) return Value(std::copysign(0.0, a / b));
  const double whole = std::floor(quotient);
  return Value(quotient - whole > 0.5 ? whole + 1.0 : whole);
}

bool is_sequence(const Value& value) {
  return value.is_text() || value.is_list(ListKind::list) || value.is_list(ListKind::tuple);
}

Value repeated(Context* context, const Value& sequence, std::int64_t times) {
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(times, 0));
  if (sequence.is_text()) {
    const std::string& piece = sequence.text().bytes;
    if (!context->fits(count, piece.size())) return {};
    std::string out = piece.size() == 1 ? std::string(count, piece[0]) : std::string();
    if (piece.size() > 1) out.reserve(piece.size() * count);
    for (std::size_t i = 0; i < count && piece.size() > 1; ++i) out += piece;
    return sequence.text().is_safe ? context->safe_text(std::move(out))
                                   : context->text(std::move(out));
  }
  const std::vector<Value>& piece = sequence.list().items;
  if (!context->fits(count, piece.size() * sizeof(Value))) return {};
  std::vector<Value> out;
  out.reserve(piece.size() * count);
  for (std::size_t i = 0; i < count && !piece.empty(); ++i) {
    out.insert(out.end(), piece.begin(), piece.end());
  }
  return context->list(std::move(out), sequence.list().kind);
}

Value joined(Context* context, const Value& left, const Value& right) {
  if (left.is_text()) {
    const bool is_safe = left.text().is_safe || right.text().is_safe;
    if (!context->fits(left.text().bytes.size() + right.text().bytes.size())) return {};
    if (!is_safe) return context->text(left.text().bytes + right.text().bytes);
    return context->safe_text(escaped(left.text()) + escaped(right.text()));
  }
  const auto& a = left.list().items;
  const auto& b = right.list().items;
  if (!context->fits(a.size() + b.size(), sizeof(Value))) return {};
  std::vector<Value> out;
  out.reserve(a.size() + b.size());
  out.insert(out.end(), a.begin(), a.end());
  out.insert(out.end(), b.begin(), b.end());
  return context->list(std::move(out), left.list().kind);
}

Value add_others(Context* context, const Value& left, const Value& right) {
  const bool same_kind =
      left.kind() == right.kind() && (!left.is_list() || left.list().kind == right.list().kind);
  if (is_sequence(left) && is_sequence(right) && same_kind) return joined(context, left, right);
  if (!is_sequence(left)) return fail_types(context, Operator::add, left, right);
  const std::string_view name = left.is_text() ? "str" : type_name(left);
  return context->fail("can only concatenate " + std::string(name) + " (not \"" +
                       std::string(type_name(right)) + "\") to " + std::string(name));
}

}  // namespace

bool reject_undefined(Context* context, const Value& value) {
  if (!value.is_undefined()) return true;
  context->fail(value.undefined().message);
  return false;
}

Value arithmetic(Context* context, Operator operation, const Value& left, const Value& right) {
  if (context->failed()) return {};
  if (operation == Operator::modulo && left.is_text()) {
    return percent_format(context, left.text(), right);
  }
  if (!reject_undefined(context, left) || !reject_undefined(context, right)) return {};
  if (left.is_integral() && right.is_integral()) {
    return integer_arithmetic(context, operation, left.integer(), right.integer());
  }
  if (left.is_number() && right.is_number()) {
    return real_arithmetic(context, operation, left.as_real(), right.as_real());
  }
  if (operation == Operator::add) return add_others(context, left, right);
  if (operation == Operator::multiply) {
    if (is_sequence(left) && right.is_integral()) return repeated(context, left, right.integer());
    if (is_sequence(right) && left.is_integral()) return repeated(context, right, left.integer());
    const Value* sequence = is_sequence(left) ? &right : (is_sequence(right) ? &left : nullptr);
    if (sequence != nullptr) {
      return context->fail("can't multiply sequence by non-int of type " +
                           in_quotes(type_name(*sequence)));
    }
  }
  return fail_types(context, operation, left, right);
}

Value negated(Context* context, const Value& value) {
  if (context->failed() || !reject_undefined(context, value)) return {};
  if (value.kind() == Kind::real) return Value(-value.real());
  if (value.is_integral()) {
    return integer_arithmetic(context, Operator::subtract, 0, value.integer());
  }
  return context->fail("bad operand type for unary -: " + in_quotes(type_name(value)));
}

Value plus(Context* context, const Value& value) {
  if (context->failed() || !reject_undefined(context, value)) return {};
  if (value.kind() == Kind::real) return value;
  if (value.is_integral()) return Value(value.integer());
  return context->fail("bad operand type for unary +: " + in_quotes(type_name(value)));
}

namespace {

bool equal_lists(Context* context, const List& a, const List& b) {
  if (a.kind != b.kind || a.items.size() != b.items.size()) return false;
  for (std::size_t i = 0; i < a.items.size(); ++i) {
    if (!equal(context, a.items[i], b.items[i])) return false;
  }
  return true;
}

bool equal_dicts(Context* context, const Dict& a, const Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  for (const auto& [key, value] : a.items) {
    const Value* other = b.find(key);
    if (other == nullptr || !equal(context, value, *other)) return false;
  }
  return true;
}

bool less_lists(Context* context, const List& a, const List& b) {
  const std::size_t common = std::min(a.items.size(), b.items.size());
  for (std::size_t i = 0; i < common; ++i) {
    if (!equal(context, a.items[i], b.items[i])) return less(context, a.items[i], b.items[i]);
  }
  return a.items.size() < b.items.size();
}

bool is_nan(const Value& value) {
  return value.kind() == Kind::real && std::isnan(value.real());
}

/// Orders two values: < <= > >=.
bool ordered(Context* context, Operator operation, const Value& left, const Value& right) {
  if (!context->work(1)) return false;
  if (!reject_undefined(context, left) || !reject_undefined(context, right)) return false;
  const bool is_swapped = operation == Operator::greater || operation == Operator::greater_equal;
  const bool or_equal = operation == Operator::less_equal || operation == Operator::greater_equal;
  const Value& a = is_swapped ? right : left;
  const Value& b = is_swapped ? left : right;
  if (a.is_number() && b.is_number()) {
    if (is_nan(a) || is_nan(b)) return false;
    const int order = compare_numbers(a, b);
    return or_equal ? order <= 0 : order < 0;
  }
  if (a.is_text() && b.is_text()) {
    if (!context->work_bytes(std::min(a.text().bytes.size(), b.text().bytes.size()))) return false;
    const int order = a.text().bytes.compare(b.text().bytes);
    return or_equal ? order <= 0 : order < 0;
  }
  const bool same_list = a.is_list() && b.is_list() && a.list().kind == b.list().kind;
  if (same_list && (a.is_list(ListKind::list) || a.is_list(ListKind::tuple))) {
    if (or_equal) return !less_lists(context, b.list(), a.list()) && !context->failed();
    return less_lists(context, a.list(), b.list());
  }
  context->fail(in_quotes(symbol_of(operation)) + " not supported between instances of " +
                in_quotes(type_name(left)) + " and " + in_quotes(type_name(right)));
  return false;
}

}  // namespace

bool equal(Context* context, const Value& left, const Value& right) {
  if (!context->work(1)) return false;
  if (left.is_number() && right.is_number()) {
    return !is_nan(left) && !is_nan(right) && compare_numbers(left, right) == 0;
  }
  if (left.kind() != right.kind()) return false;
  switch (left.kind()) {
    case Kind::undefined:
    case Kind::none:
      return true;
    case Kind::text:
      return context->work_bytes(left.text().bytes.size()) &&
             left.text().bytes == right.text().bytes;
    case Kind::list:
      return left.same(right) || equal_lists(context, left.list(), right.list());
    case Kind::dict:
      return left.same(right) || equal_dicts(context, left.dict(), right.dict());
    default:
      return left.same(right);
  }
}

bool less(Context* context, const Value& left, const Value& right) {
  return ordered(context, Operator::less, left, right);
}

bool contains(Context* context, const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::text: {
      if (!item.is_text()) {
        context->fail("'in <string>' requires string as left operand, not " +
                      std::string(type_name(item)));
        return false;
      }
      return context->work_bytes(container.text().bytes.size()) &&
             find_first(container.text().bytes, item.text().bytes) != std::string_view::npos;
    }
    case Kind::dict:
      if (!is_hashable(item)) {
        context->fail("unhashable type: " + in_quotes(type_name(item)));
        return false;
      }
      return container.dict().find(item) != nullptr;
    case Kind::undefined:
      return false;
    case Kind::list: {
      const Value items = iterate(context, container);
      if (context->failed()) return false;
      for (const Value& held : items.list().items) {
        if (held.same(item) || equal(context, held, item)) return true;
        if (context->failed()) return false;
      }
      return false;
    }
    default:
      context->fail("argument of type " + in_quotes(type_name(container)) + " is not iterable");
      return false;
  }
}

bool compare(Context* context, Operator operation, const Value& left, const Value& right) {
  if (context->failed()) return false;
  switch (operation) {
    case Operator::equal:
      return equal(context, left, right);
    case Operator::not_equal:
      return !equal(context, left, right);
    case Operator::in:
      return contains(context, right, left);
    case Operator::not_in:
      return !contains(context, right, left);
    default:
      return ordered(context, operation, left, right);
  }
}

}  // namespace runnel::jinja
