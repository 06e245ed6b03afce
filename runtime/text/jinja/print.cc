#include "runtime/text/jinja/print.h"

#include <charconv>
#include <cmath>

#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/objects.h"

namespace runnel::jinja {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";

void append_hex(std::uint32_t code, int digits, std::string* out) {
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    out->push_back(kHexDigits[(code >> shift) & 0xF]);
  }
}

void append_escaped(std::uint32_t code, std::string* out) {
  if (code >= 0xDC80 && code <= 0xDCFF) {  // an invalid byte
    out->append("\\x");
    append_hex(code - 0xDC00, 2, out);
  } else if (code < 0x100) {
    out->append("\\x");
    append_hex(code, 2, out);
  } else if (code < 0x10000) {
    out->append("\\u");
    append_hex(code, 4, out);
  } else {
    out->append("\\U");
    append_hex(code, 8, out);
  }
}

bool append_list_repr(Context* context, const Value& value, TextBuilder* out) {
  const List& list = value.list();
  const bool is_opaque = list.kind == ListKind::range || list.kind == ListKind::generator;
  if (is_opaque) return out->append(list.label);
  const bool is_tuple = list.kind == ListKind::tuple;
  const bool is_view = list.kind == ListKind::dict_view;
  if (is_view && !out->append(list.label + "(")) return false;
  if (!out->append(is_tuple ? "(" : "[")) return false;
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0 && !out->append(", ")) return false;
    if (!append_repr(context, list.items[i], out)) return false;
  }
  if (is_tuple && list.items.size() == 1 && !out->append(",")) return false;
  return out->append(is_tuple ? ")" : (is_view ? "])" : "]"));
}

bool append_dict_repr(Context* context, const Dict& dict, TextBuilder* out) {
  if (!out->append("{")) return false;
  for (std::size_t i = 0; i < dict.items.size(); ++i) {
    if (i > 0 && !out->append(", ")) return false;
    if (!append_repr(context, dict.items[i].first, out) || !out->append(": ")) return false;
    if (!append_repr(context, dict.items[i].second, out)) return false;
  }
  return out->append("}");
}

}  // namespace

std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto sized = [&](std::to_chars_result result) {
    return std::string(buffer, static_cast<std::size_t>(result.ptr - buffer));
  };
  std::string shortest =
      sized(std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific));
  int exponent = 0;
  const std::size_t at = shortest.find('e');
  const char* exponent_begin = shortest.data() + at + 1 + (shortest[at + 1] == '+' ? 1 : 0);
  std::from_chars(exponent_begin, shortest.data() + shortest.size(), exponent);
  if (exponent < -4 || exponent >= 16) return shortest;
  std::string fixed =
      sized(std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed));
  if (fixed.find('.') == std::string::npos) fixed += ".0";
  return fixed;
}

std::string quote(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  std::string out(1, quote);
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    if (c.code == static_cast<unsigned char>(quote) || c.code == '\\') {
      out += {'\\', static_cast<char>(c.code)};
    } else if (c.code == '\n') {
      out += "\\n";
    } else if (c.code == '\r') {
      out += "\\r";
    } else if (c.code == '\t') {
      out += "\\t";
    } else if (is_printable(c.code)) {
      out.append(text.substr(at, c.bytes));
    } else {
      append_escaped(c.code, &out);
    }
    at += c.bytes;
  }
  out.push_back(quote);
  return out;
}

std::string in_quotes(std::string_view name) {
  return "'" + std::string(name) + "'";
}

bool append_text(Context* context, const Value& value, TextBuilder* out) {
  if (value.is_text()) return out->append(value.text().bytes);
  if (value.is_undefined()) return !context->failed();
  return append_repr(context, value, out);
}

bool append_repr(Context* context, const Value& value, TextBuilder* out) {
  switch (value.kind()) {
    case Kind::undefined:
      return out->append("Undefined");
    case Kind::none:
      return out->append("None");
    case Kind::boolean:
      return out->append(value.boolean() ? "True" : "False");
    case Kind::integer:
      return out->append(std::to_string(value.integer()));
    case Kind::real:
      return out->append(real_text(value.real()));
    case Kind::text:
      if (!context->fits(value.text().bytes.size(), 10)) return false;  // "\U0010ffff" at worst
      if (!value.text().is_safe) return out->append(quote(value.text().bytes));
      return out->append("Markup(" + quote(value.text().bytes) + ")");
    case Kind::list:
      return append_list_repr(context, value, out);
    case Kind::dict:
      return append_dict_repr(context, value.dict(), out);
    case Kind::object:
      break;
  }
  return append_object(context, value.object(), out);
}

std::string to_text(Context* context, const Value& value) {
  TextBuilder out(context);
  append_text(context, value, &out);
  return out.take();
}

std::string to_repr(Context* context, const Value& value) {
  TextBuilder out(context);
  append_repr(context, value, &out);
  return out.take();
}

}  // namespace runnel::jinja
