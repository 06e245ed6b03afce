// json.dumps() of template values.
#include <cmath>
#include <optional>

#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/print.h"

namespace runnel::jinja {
namespace {

void append_unicode_escape(std::uint32_t code, std::string* out) {
  constexpr char kHexDigits[] = "0123456789abcdef";
  out->append("\\u");
  for (int shift = 12; shift >= 0; shift -= 4) out->push_back(kHexDigits[(code >> shift) & 0xF]);
}

void append_ascii(std::uint32_t code, std::string* out) {
  if (code < 0x10000) return append_unicode_escape(code, out);
  append_unicode_escape(0xD800 + ((code - 0x10000) >> 10), out);
  append_unicode_escape(0xDC00 + ((code - 0x10000) & 0x3FF), out);
}

std::string json_quoted(std::string_view text, bool ascii_only) {
  constexpr std::string_view kSpecial = "\"\\\n\r\t\b\f";
  constexpr std::string_view kLetters = "\"\\nrtbf";
  std::string out = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    const std::size_t special = c.bytes == 1 ? kSpecial.find(text[at]) : std::string_view::npos;
    if (special != std::string_view::npos) {
      out += {'\\', kLetters[special]};
    } else if (c.code < 0x20 || (ascii_only && c.code >= 0x80)) {
      append_ascii(c.code, &out);
    } else {
      out.append(text.substr(at, c.bytes));
    }
    at += c.bytes;
  }
  out.push_back('"');
  return out;
}

std::string json_real(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return real_text(value);
}

class JsonWriter {
 public:
  JsonWriter(Context* context, const JsonStyle& style)
      : context_(context), style_(style), out_(context) {}

  bool write(const Value& value);
  std::string take() { return out_.take(); }

 private:
  bool write_list(const List& list);
  bool write_dict(const Dict& dict);
  bool write_key(const Value& key);
  bool write_quoted(std::string_view text);
  bool break_line();

  Context* context_;
  const JsonStyle& style_;
  TextBuilder out_;
  std::size_t level_ = 0;
};

bool JsonWriter::break_line() {
  if (!style_.is_indented) return true;
  if (!out_.append("\n")) return false;
  for (std::size_t i = 0; i < level_; ++i) {
    if (!out_.append(style_.indent)) return false;
  }
  return true;
}

bool JsonWriter::write_quoted(std::string_view text) {
  if (!context_->fits(text.size(), 12)) return false;
  return out_.append(json_quoted(text, style_.ascii_only));
}

bool JsonWriter::write_list(const List& list) {
  if (list.items.empty()) return out_.append("[]");
  if (!out_.append("[")) return false;
  ++level_;
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0 && !out_.append(style_.item_separator)) return false;
    if (!break_line() || !write(list.items[i])) return false;
  }
  --level_;
  return break_line() && out_.append("]");
}

bool JsonWriter::write_key(const Value& key) {
  if (key.is_text()) return write_quoted(key.text().bytes);
  if (key.is_none()) return out_.append("\"null\"");
  if (key.kind() == Kind::boolean) return out_.append(key.boolean() ? "\"true\"" : "\"false\"");
  if (key.kind() == Kind::integer) return write_quoted(std::to_string(key.integer()));
  if (key.kind() == Kind::real) return write_quoted(json_real(key.real()));
  context_->fail("keys must be str, int, float, bool or None, not " + std::string(type_name(key)));
  return false;
}

bool JsonWriter::write_dict(const Dict& dict) {
  if (dict.items.empty()) return out_.append("{}");
  if (!out_.append("{")) return false;
  ++level_;
  for (std::size_t i = 0; i < dict.items.size(); ++i) {
    const auto& [key, value] = dict.items[style_.sort_keys ? dict.order[i] : i];
    if (i > 0 && !out_.append(style_.item_separator)) return false;
    if (!break_line() || !write_key(key) || !out_.append(style_.key_separator)) return false;
    if (!write(value)) return false;
  }
  --level_;
  return break_line() && out_.append("}");
}

bool JsonWriter::write(const Value& value) {
  switch (value.kind()) {
    case Kind::none:
      return out_.append("null");
    case Kind::boolean:
      return out_.append(value.boolean() ? "true" : "false");
    case Kind::integer:
      return out_.append(std::to_string(value.integer()));
    case Kind::real:
      return out_.append(json_real(value.real()));
    case Kind::text:
      return write_quoted(value.text().bytes);
    case Kind::dict:
      return write_dict(value.dict());
    case Kind::list:
      if (value.is_list(ListKind::list) || value.is_list(ListKind::tuple)) {
        return write_list(value.list());
      }
      break;
    default:
      break;
  }
  context_->fail("Object of type " + std::string(type_name(value)) + " is not JSON serializable");
  return false;
}

}  // namespace

Value to_json(Context* context, const Value& value, const JsonStyle& style) {
  JsonWriter writer(context, style);
  if (!writer.write(value)) return {};
  return context->text(writer.take());
}

}  // namespace runnel::jinja
