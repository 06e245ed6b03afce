#include "runtime/text/jinja/format.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/print.h"

namespace runnel::jinja {
namespace {

constexpr std::int64_t kMostPrecision = 1000;  // digits after the point

std::string lower_digits(std::uint64_t magnitude, int base) {
  char buffer[72];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), magnitude, base);
  return std::string(buffer, result.ptr);
}

std::string upper(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

void group_thousands(std::string* digits) {
  std::size_t end = digits->find_first_not_of("0123456789");
  if (end == std::string::npos) end = digits->size();
  while (end > 3) {
    end -= 3;
    digits->insert(end, ",");
  }
}

/// Digits of |value|, with the prefix that "#" asks for in *prefix.
std::string integer_digits(std::int64_t value, const FieldLayout& layout, std::string* prefix) {
  const char type = layout.type;
  const std::uint64_t magnitude =
      value < 0 ? ~static_cast<std::uint64_t>(value) + 1 : static_cast<std::uint64_t>(value);
  const bool is_hex = type == 'x' || type == 'X';
  const int base = is_hex ? 16 : (type == 'o' ? 8 : (type == 'b' ? 2 : 10));
  if (layout.is_alternate && base != 10) *prefix = {'0', type};
  std::string digits = lower_digits(magnitude, base);
  if (layout.precision > static_cast<std::int64_t>(digits.size())) {
    digits.insert(0, static_cast<std::size_t>(layout.precision) - digits.size(), '0');
  }
  return type == 'X' ? upper(std::move(digits)) : digits;
}

std::string real_digits(double value, const FieldLayout& layout) {
  const double magnitude = std::fabs(value);
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return "inf";
  const char type = static_cast<char>(layout.type | 0x20);
  std::chars_format style = std::chars_format::general;
  if (type == 'f' || type == '%') style = std::chars_format::fixed;
  if (type == 'e') style = std::chars_format::scientific;
  const auto precision = static_cast<int>(layout.precision < 0 ? 6 : layout.precision);
  std::string buffer(static_cast<std::size_t>(precision) + 350, '\0');
  const auto result =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), magnitude, style, precision);
  buffer.resize(static_cast<std::size_t>(result.ptr - buffer.data()));
  return buffer;
}

}  // namespace

bool append_padded(Context* context,
                   std::string_view text,
                   const FieldLayout& layout,
                   TextBuilder* out) {
  if (layout.precision >= 0) {
    const auto kept = static_cast<std::size_t>(layout.precision);
    text = text.substr(0, offset_of(text, kept));
  }
  const auto length = static_cast<std::int64_t>(count_characters(text));
  if (!context->work_bytes(text.size())) return false;
  const auto margin = static_cast<std::size_t>(std::max<std::int64_t>(layout.width - length, 0));
  std::size_t left = 0;
  if (layout.align == '>' || layout.align == '=') left = margin;
  if (layout.align == '^') left = margin / 2;
  const std::string_view fill(&layout.fill, 1);
  return out->append_repeated(left, fill) && out->append(text) &&
         out->append_repeated(margin - left, fill);
}

bool append_number(Context* context,
                   const Value& value,
                   const FieldLayout& layout,
                   TextBuilder* out) {
  if (layout.precision > kMostPrecision) {
    context->fail_unsupported("a number format asks for too many digits");
    return false;
  }
  const bool is_integer_type =
      std::string_view("dbxXo").find(layout.type) != std::string_view::npos;
  std::string prefix;
  std::string digits;
  bool is_negative = false;
  if (is_integer_type) {
    is_negative = value.integer() < 0;
    digits = integer_digits(value.integer(), layout, &prefix);
  } else {
    double number = value.as_real();
    if (layout.type == '%') number *= 100.0;
    is_negative = std::signbit(number) && !std::isnan(number);
    digits = real_digits(number, layout);
    if (layout.type >= 'A' && layout.type <= 'Z') digits = upper(std::move(digits));
    if (layout.type == '%') digits += '%';
  }
  if (layout.has_thousands) group_thousands(&digits);
  std::string sign = is_negative ? "-" : "";
  if (!is_negative && layout.sign != '-') sign = layout.sign;
  sign += prefix;
  FieldLayout outer = layout;
  outer.precision = -1;
  if (outer.align == '\0') outer.align = '>';
  if (outer.align != '=') return append_padded(context, sign + digits, outer, out);
  outer.width -= static_cast<std::int64_t>(sign.size());
  return out->append(sign) && append_padded(context, digits, outer, out);
}

}  // namespace runnel::jinja
