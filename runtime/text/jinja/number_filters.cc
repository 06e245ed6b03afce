// Filters of numbers: abs, float, int, round, sum.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/print.h"

namespace runnel::jinja {
namespace {

Value absolute(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "abs", arguments, {}, 0, &bound) || !reject_undefined(context, value)) {
    return {};
  }
  if (value.kind() == Kind::real) return Value(std::fabs(value.real()));
  if (!value.is_integral()) {
    return context->fail("bad operand type for abs(): " + in_quotes(type_name(value)));
  }
  return value.integer() < 0 ? negated(context, value) : Value(value.integer());
}

/// Removes underscores between digits; false when one is elsewhere.
bool remove_underscores(std::string* text) {
  std::string out;
  for (std::size_t i = 0; i < text->size(); ++i) {
    const char c = (*text)[i];
    if (c != '_') {
      out.push_back(c);
      continue;
    }
    const auto is_digit = [](char d) { return std::isxdigit(static_cast<unsigned char>(d)) != 0; };
    if (i == 0 || i + 1 == text->size() || !is_digit((*text)[i - 1]) || !is_digit((*text)[i + 1])) {
      return false;
    }
  }
  *text = std::move(out);
  return true;
}

/// Python's float(text); false when it is no number.
bool parse_real(std::string_view given, double* out) {
  std::string text(stripped(given, Side::both));
  if (!remove_underscores(&text)) return false;
  std::string_view digits = text;
  const bool is_negative = !digits.empty() && digits[0] == '-';
  if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) digits.remove_prefix(1);
  const std::string lower = to_lower(digits);
  if (lower == "inf" || lower == "infinity" || lower == "nan") {
    *out = lower == "nan" ? std::numeric_limits<double>::quiet_NaN()
                          : std::numeric_limits<double>::infinity();
  } else {
    if (lower.find_first_not_of("0123456789.e+-") != std::string::npos || lower.empty()) {
      return false;
    }
    const char* end = lower.data() + lower.size();
    const auto result = std::from_chars(lower.data(), end, *out);
    if (result.ptr != end || lower[0] == '-') return false;
    if (result.ec == std::errc::result_out_of_range) {
      const bool is_tiny = lower.find("e-") != std::string::npos || lower[0] == '0';
      *out = is_tiny ? 0.0 : std::numeric_limits<double>::infinity();
    } else if (result.ec != std::errc()) {
      return false;
    }
  }
  if (is_negative) *out = -*out;
  return true;
}

enum class Parse : std::uint8_t { ok, not_a_number, overflow };

/// Python's int(text, base).
Parse parse_integer(std::string_view given, int base, std::int64_t* out) {
  std::string text(stripped(given, Side::both));
  if (!remove_underscores(&text)) return Parse::not_a_number;
  std::string_view digits = text;
  const bool is_negative = !digits.empty() && digits[0] == '-';
  if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) digits.remove_prefix(1);
  if (digits.size() > 2 && digits[0] == '0' && base != 10) {
    const char letter = static_cast<char>(digits[1] | 0x20);
    const int prefix_base = letter == 'x' ? 16 : (letter == 'o' ? 8 : (letter == 'b' ? 2 : 0));
    if (prefix_base != 0 && (base == prefix_base || base == 0)) {
      base = prefix_base;
      digits.remove_prefix(2);
    }
  }
  if (base == 0) base = 10;
  if (digits.empty() || digits[0] == '-') return Parse::not_a_number;
  std::uint64_t magnitude = 0;
  const char* end = digits.data() + digits.size();
  const auto result = std::from_chars(digits.data(), end, magnitude, base);
  if (result.ptr != end) return Parse::not_a_number;
  const std::uint64_t most = (std::uint64_t{1} << 63) - (is_negative ? 0 : 1);
  if (result.ec != std::errc() || magnitude > most) return Parse::overflow;
  *out = static_cast<std::int64_t>(is_negative ? ~magnitude + 1 : magnitude);
  return Parse::ok;
}

Value truncated(Context* context, double value, const Value& fallback) {
  if (std::isnan(value)) return fallback;
  if (std::isinf(value)) return context->fail("cannot convert float infinity to integer");
  const double whole = std::trunc(value);
  if (!(whole >= -0x1.0p63 && whole < 0x1.0p63)) return context->fail("integer overflow");
  return Value(static_cast<std::int64_t>(whole));
}

Value to_integer(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "int", arguments, {"default", "base"}, 0, &bound)) return {};
  if (!reject_undefined(context, value)) return {};
  Value fallback = bound.is_given[0] ? bound.values[0] : Value(std::int64_t{0});
  if (value.is_integral()) return Value(value.integer());
  if (value.kind() == Kind::real) return truncated(context, value.real(), fallback);
  if (!value.is_text()) return fallback;
  std::int64_t base = 10;
  if (bound.values[1].is_integral()) base = bound.values[1].integer();
  const std::string& text = value.text().bytes;
  std::int64_t integer = 0;
  if (base == 0 || (base >= 2 && base <= 36)) {
    const Parse parsed = parse_integer(text, static_cast<int>(base), &integer);
    if (parsed == Parse::ok) return Value(integer);
    if (parsed == Parse::overflow) return context->fail("integer overflow");
  }
  double real = 0.0;
  return parse_real(text, &real) ? truncated(context, real, fallback) : fallback;
}

Value to_real(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "float", arguments, {"default"}, 0, &bound)) return {};
  if (!reject_undefined(context, value)) return {};
  double real = 0.0;
  if (value.is_number()) return Value(value.as_real());
  if (value.is_text() && parse_real(value.text().bytes, &real)) return Value(real);
  return bound.is_given[0] ? bound.values[0] : Value(0.0);
}

/// Python's round(): to the nearest, ties to even.
double rounded(double value, std::int64_t digits) {
  if (!std::isfinite(value) || digits > 323) return value;
  if (digits < -308) return std::copysign(0.0, value);
  if (digits < 0) {
    const double scale = std::pow(10.0, static_cast<double>(-digits));
    return std::nearbyint(value / scale) * scale;
  }
  char buffer[700];  // 309 digits, the point and 323 decimals
  const auto written = std::to_chars(buffer, buffer + sizeof(buffer), value,
                                     std::chars_format::fixed, static_cast<int>(digits));
  double result = value;
  std::from_chars(buffer, written.ptr, result);
  return result;
}

Value rounded_integer(Context* context, std::int64_t value, std::int64_t digits) {
  if (digits >= 0) return Value(value);
  if (digits < -18) {  // to a multiple of 10^19, which no integer but 0 is
    constexpr std::int64_t kHalf = 5'000'000'000'000'000'000;
    if (digits == -19 && (value > kHalf || value < -kHalf))
      return context->fail("integer overflow");
    return Value(std::int64_t{0});
  }
  std::int64_t scale = 1;
  for (std::int64_t i = 0; i > digits; --i) scale *= 10;
  const Value quotient = arithmetic(context, Operator::floor_divide, Value(value), Value(scale));
  std::int64_t whole = quotient.integer();
  const std::int64_t rest = value - whole * scale;
  const std::int64_t half = scale / 2;
  if (rest > half || (rest == half && whole % 2 != 0)) ++whole;
  return arithmetic(context, Operator::multiply, Value(whole), Value(scale));
}

Value round(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "round", arguments, {"precision", "method"}, 0, &bound)) return {};
  if (!reject_undefined(context, value)) return {};
  const std::string method = bound.is_given[1] ? to_text(context, bound.values[1]) : "common";
  if (method != "common" && method != "ceil" && method != "floor") {
    return context->fail("method must be common, ceil or floor");
  }
  std::int64_t digits = 0;
  if (bound.is_given[0]) {
    if (!bound.values[0].is_integral()) return context->fail("round() needs an integer precision");
    digits = bound.values[0].integer();
  }
  if (!value.is_number()) {
    return context->fail("type " + std::string(type_name(value)) +
                         " doesn't define __round__ method");
  }
  if (method == "common") {
    if (value.is_integral()) return rounded_integer(context, value.integer(), digits);
    return Value(rounded(value.real(), digits));
  }
  const double scale = std::pow(10.0, static_cast<double>(digits));
  const double scaled = value.as_real() * scale;
  if (!std::isfinite(scaled)) return context->fail("cannot convert float infinity to integer");
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

Value sum(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "sum", arguments, {"attribute", "start"}, 0, &bound)) return {};
  Value total = bound.is_given[1] ? bound.values[1] : Value(std::int64_t{0});
  if (total.is_text()) return context->fail("sum() can't sum strings [use ''.join(seq) instead]");
  const Value items = iterate(context, value);
  if (context->failed()) return {};
  for (const Value& item : items.list().items) {
    const Value added = follow_path(context, item, bound.values[0]);
    total = arithmetic(context, Operator::add, total, added);
    if (!context->work(1)) return {};
  }
  return total;
}

constexpr FilterRow kRows[] = {
    {"abs", absolute}, {"float", to_real}, {"int", to_integer}, {"round", round}, {"sum", sum},
};

}  // namespace

std::span<const FilterRow> number_filters() {
  return kRows;
}

}  // namespace runnel::jinja
