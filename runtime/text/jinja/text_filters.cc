// Filters that make text.
#include <algorithm>

#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/format.h"
#include "runtime/text/jinja/html.h"
#include "runtime/text/jinja/methods.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/print.h"
#include "runtime/text/jinja/split.h"

namespace runnel::jinja {
namespace {

/// The text of any value, marks of safety kept.
Value soft_text(Context* context, const Value& value) {
  return value.is_text() ? value : context->text(to_text(context, value));
}

/// Applies the method of the same name to the text of the value.
template <const char* kName>
Value method(Context* context, const Value& value, const Arguments& arguments) {
  const Value text = soft_text(context, value);
  if (context->failed()) return {};
  return call_text_method(context, text, kName, arguments);
}

constexpr char kCapitalize[] = "capitalize";
constexpr char kLower[] = "lower";
constexpr char kUpper[] = "upper";
constexpr char kStrip[] = "strip";

Value center(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "center", arguments, {"width"}, 0, &bound)) return {};
  Arguments width;
  width.positional.push_back(bound.is_given[0] ? bound.values[0] : Value(std::int64_t{80}));
  const Value text = soft_text(context, value);
  return context->failed() ? Value() : call_text_method(context, text, "center", width);
}

Value escape(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  const Value text = soft_text(context, value);
  if (!bind(context, "escape", arguments, {}, 0, &bound) || context->failed()) return {};
  if (!context->fits(text.text().bytes.size(), 5)) return {};
  return context->safe_text(escaped(text.text()));
}

Value force_escape(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "forceescape", arguments, {}, 0, &bound)) return {};
  const std::string text = to_text(context, value);
  if (!context->fits(text.size(), 5)) return {};
  return context->safe_text(escaped(text));
}

Value safe(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "safe", arguments, {}, 0, &bound)) return {};
  return context->safe_text(to_text(context, value));
}

Value string(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "string", arguments, {}, 0, &bound)) return {};
  return soft_text(context, value);
}

Value format(Context* context, const Value& value, const Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty()) {
    return context->fail("can't handle positional and keyword arguments at the same time");
  }
  const Value text = soft_text(context, value);
  if (context->failed()) return {};
  if (arguments.named.empty()) {
    const Value values = context->list(arguments.positional, ListKind::tuple);
    return context->failed() ? Value() : percent_format(context, text.text(), values);
  }
  std::vector<Dict::Entry> entries;
  for (const auto& [name, given] : arguments.named) {
    entries.emplace_back(context->text(name), given);
  }
  const Value values = context->dict(std::move(entries));
  return context->failed() ? Value() : percent_format(context, text.text(), values);
}

Value replace(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "replace", arguments, {"old", "new", "count"}, 2, &bound)) return {};
  const std::string text = to_text(context, value);
  const std::string from = to_text(context, bound.values[0]);
  const std::string to = to_text(context, bound.values[1]);
  std::int64_t most = -1;
  if (bound.values[2].is_integral()) most = bound.values[2].integer();
  return context->failed() ? Value() : replace_text(context, text, from, to, most);
}

Value join(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "join", arguments, {"d", "attribute"}, 0, &bound)) return {};
  const std::string separator = bound.is_given[0] ? to_text(context, bound.values[0]) : "";
  const Value items = iterate(context, value);
  if (context->failed()) return {};
  TextBuilder out(context);
  bool is_first = true;
  for (const Value& item : items.list().items) {
    if (!is_first && !out.append(separator)) return {};
    is_first = false;
    const Value shown = follow_path(context, item, bound.values[1]);
    if (context->failed() || !append_text(context, shown, &out)) return {};
  }
  return context->text(out.take());
}

Value indent(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "indent", arguments, {"width", "first", "blank"}, 0, &bound)) return {};
  if (!reject_undefined(context, value)) return {};
  if (!value.is_text()) {
    return context->fail("unsupported operand type(s) for +=: " + in_quotes(type_name(value)) +
                         " and 'str'");
  }
  std::string indentation = "    ";
  if (bound.values[0].is_text()) {
    indentation = bound.values[0].text().bytes;
  } else if (bound.is_given[0]) {
    if (!bound.values[0].is_integral()) return context->fail("indent() needs a width or a string");
    const std::int64_t width = std::max<std::int64_t>(bound.values[0].integer(), 0);
    if (!context->fits(static_cast<std::size_t>(width))) return {};
    indentation = std::string(static_cast<std::size_t>(width), ' ');
  }
  const Value lines = split_lines(context, value.text().bytes + "\n", false);
  if (context->failed()) return {};
  TextBuilder out(context);
  bool is_first = true;
  for (const Value& line : lines.list().items) {
    const std::string& text = line.text().bytes;
    if (!is_first && !out.append("\n")) return {};
    const bool indents =
        is_first ? is_true(bound.values[1]) : is_true(bound.values[2]) || !text.empty();
    if ((indents && !out.append(indentation)) || !out.append(text)) return {};
    is_first = false;
  }
  return context->text(out.take());
}

/// Upper case after white space and any of -({[<, lower case elsewhere.
Value title(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "title", arguments, {}, 0, &bound)) return {};
  const std::string text = to_text(context, value);
  if (!context->work_bytes(2 * text.size()) || !context->fits(text.size(), 3)) return {};
  std::string out;
  bool starts_word = true;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    const std::string_view piece = std::string_view(text).substr(at, c.bytes);
    const bool is_gap =
        is_space(c.code) ||
        (c.code < 0x80 && std::string_view("-({[<").find(text[at]) != std::string::npos);
    out += starts_word || is_gap ? to_upper(piece) : to_lower(piece);
    starts_word = is_gap;
    at += c.bytes;
  }
  return context->text(std::move(out));
}

Value tojson(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0,
            &bound)) {
    return {};
  }
  JsonStyle style;
  style.ascii_only = is_true(bound.values[0]);
  style.sort_keys = is_true(bound.values[3]);
  const Value& width = bound.values[1];
  if (width.is_text()) {
    style.indent = width.text().bytes;
  } else if (width.is_integral()) {
    const auto spaces = static_cast<std::size_t>(std::max<std::int64_t>(width.integer(), 0));
    if (!context->fits(spaces)) return {};
    style.indent = std::string(spaces, ' ');
  }
  style.is_indented = !width.is_none();
  if (style.is_indented) style.item_separator = ",";
  const Value& separators = bound.values[2];
  if (separators.is_list()) {
    const std::vector<Value>& parts = separators.list().items;
    if (parts.size() != 2 || !parts[0].is_text() || !parts[1].is_text()) {
      return context->fail("tojson() separators must be two strings");
    }
    style.item_separator = parts[0].text().bytes;
    style.key_separator = parts[1].text().bytes;
  }
  return to_json(context, value, style);
}

Value truncate(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "truncate", arguments, {"length", "killwords", "end", "leeway"}, 0, &bound)) {
    return {};
  }
  std::int64_t size = 0;
  if (!length_of(context, value, &size)) return {};
  const std::string end = bound.is_given[2] ? to_text(context, bound.values[2]) : "...";
  const auto end_length = static_cast<std::int64_t>(count_characters(end));
  const std::int64_t length = bound.values[0].is_integral() ? bound.values[0].integer() : 255;
  const std::int64_t leeway = bound.values[3].is_integral() ? bound.values[3].integer() : 5;
  if (length < end_length) {
    return context->fail("expected length >= " + std::to_string(end_length) + ", got " +
                         std::to_string(length));
  }
  if (leeway < 0) return context->fail("expected leeway >= 0, got " + std::to_string(leeway));
  if (size <= length || size - length <= leeway) return value;
  if (!value.is_text()) {
    return context->fail(in_quotes(type_name(value)) + " object cannot be truncated");
  }
  const Text& text = value.text();
  const auto kept = static_cast<std::size_t>(length - end_length);
  std::string_view head = std::string_view(text.bytes).substr(0, offset_of(text.bytes, kept));
  if (!is_true(bound.values[1])) head = head.substr(0, std::min(head.rfind(' '), head.size()));
  return context->text(std::string(head) + end);
}

std::string url_quoted(std::string_view text, bool for_query) {
  constexpr char kHexDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                          (c >= 'A' && c <= 'Z') ||
                          std::string_view("_.-~").find(c) != std::string_view::npos;
    if (is_plain || (c == '/' && !for_query)) {
      out.push_back(c);
    } else if (c == ' ' && for_query) {
      out.push_back('+');
    } else {
      out += {'%', kHexDigits[byte >> 4], kHexDigits[byte & 0xF]};
    }
  }
  return out;
}

Value urlencode(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "urlencode", arguments, {}, 0, &bound)) return {};
  if (!value.is_dict() && !value.is_list()) {
    const std::string text = to_text(context, value);
    if (!context->fits(text.size(), 3)) return {};
    return context->text(url_quoted(text, false));
  }
  std::vector<Dict::Entry> pairs;
  if (value.is_dict()) {
    pairs = value.dict().items;
  } else {
    const Value items = iterate(context, value);
    for (std::size_t i = 0; !context->failed() && i < items.list().items.size(); ++i) {
      const Value pair = iterate(context, items.list().items[i]);
      if (context->failed()) return {};
      if (pair.list().items.size() != 2) return context->fail("urlencode() needs pairs");
      pairs.emplace_back(pair.list().items[0], pair.list().items[1]);
    }
  }
  TextBuilder out(context);
  for (const auto& [key, item] : pairs) {
    const std::string name = to_text(context, key);
    const std::string text = to_text(context, item);
    if (!context->fits(name.size() + text.size(), 3)) return {};
    if (out.size() > 0 && !out.append("&")) return {};
    if (!out.append(url_quoted(name, true) + "=" + url_quoted(text, true))) return {};
  }
  return context->text(out.take());
}

Value wordcount(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "wordcount", arguments, {}, 0, &bound)) return {};
  const std::string text = to_text(context, value);
  std::int64_t words = 0;
  bool in_word = false;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    const bool is_word = is_letter(c.code) || is_number(c.code) || c.code == '_';
    if (is_word && !in_word) ++words;
    in_word = is_word;
    at += c.bytes;
  }
  return Value(words);
}

Value xmlattr(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "xmlattr", arguments, {"autospace"}, 0, &bound)) return {};
  if (!reject_undefined(context, value)) return {};
  if (!value.is_dict()) {
    return context->fail(in_quotes(type_name(value)) + " object has no attribute 'items'");
  }
  const bool autospace = !bound.is_given[0] || is_true(bound.values[0]);
  TextBuilder out(context);
  for (const auto& [key, item] : value.dict().items) {
    if (item.is_none() || item.is_undefined()) continue;
    if (!key.is_text()) {
      return context->fail("expected string or bytes-like object, got " +
                           in_quotes(type_name(key)));
    }
    const std::string& name = key.text().bytes;
    if (name.find_first_of(" \t\n\r\f\v/>=") != std::string::npos) {
      return context->fail("Invalid character in attribute name: " + quote(name));
    }
    const Value text = soft_text(context, item);
    if (context->failed() || !context->fits(name.size() + text.text().bytes.size(), 5)) return {};
    if ((out.size() > 0 || autospace) && !out.append(" ")) return {};
    if (!out.append(escaped(std::string_view(name)) + "=\"" + escaped(text.text()) + "\"")) {
      return {};
    }
  }
  return context->text(out.take());
}

constexpr FilterRow kRows[] = {
    {"capitalize", method<kCapitalize>},
    {"center", center},
    {"e", escape},
    {"escape", escape},
    {"forceescape", force_escape},
    {"format", format},
    {"indent", indent},
    {"join", join},
    {"lower", method<kLower>},
    {"replace", replace},
    {"safe", safe},
    {"string", string},
    {"strip", method<kStrip>},
    {"title", title},
    {"tojson", tojson},
    {"trim", method<kStrip>},
    {"truncate", truncate},
    {"upper", method<kUpper>},
    {"urlencode", urlencode},
    {"wordcount", wordcount},
    {"xmlattr", xmlattr},
};

}  // namespace

std::span<const FilterRow> text_filters() {
  return kRows;
}

}  // namespace runnel::jinja
