// '{} and {name}'.format(a, name=b), as Python does it.
#include <algorithm>

#include "runtime/text/jinja/format.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/print.h"

namespace runnel::jinja {
namespace {

constexpr std::int64_t kMostCount = std::int64_t{1} << 40;  // far beyond any memory limit

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_index(std::string_view text) {
  return !text.empty() && text.size() < 10 && std::all_of(text.begin(), text.end(), is_digit);
}

std::int64_t read_count(std::string_view text, std::size_t* at) {
  std::int64_t count = 0;
  for (; *at < text.size() && is_digit(text[*at]); ++*at) {
    count = std::min(count * 10 + (text[*at] - '0'), kMostCount);
  }
  return count;
}

/// Reads [[fill]align][sign][#][0][width][,][.precision][type]; false when it is something else.
bool read_layout(std::string_view text, FieldLayout* layout) {
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  std::size_t at = 0;
  const auto peek = [&] { return at < text.size() ? text[at] : '\0'; };
  if (text.size() > 1 && is_align(text[1])) {
    layout->fill = text[0];
    layout->align = text[1];
    at = 2;
  } else if (is_align(peek())) {
    layout->align = text[at++];
  }
  if (peek() == '+' || peek() == '-' || peek() == ' ') layout->sign = text[at++];
  if (peek() == '#') {
    layout->is_alternate = true;
    ++at;
  }
  if (peek() == '0') {
    if (layout->align == '\0') {
      layout->align = '=';
      layout->fill = '0';
    }
    ++at;
  }
  layout->width = read_count(text, &at);
  if (peek() == ',') {
    layout->has_thousands = true;
    ++at;
  }
  if (peek() == '.') {
    ++at;
    if (!is_digit(peek())) return false;
    layout->precision = read_count(text, &at);
  }
  if (at < text.size()) layout->type = text[at++];
  return at == text.size();
}

class BraceFormatter {
 public:
  BraceFormatter(Context* context, std::string_view format, const Arguments& arguments)
      : context_(context), format_(format), arguments_(arguments), out_(context) {}

  Value run();

 private:
  bool append_field(std::string_view field);
  bool find_field(std::string_view name, Value* value);
  bool follow(std::string_view path, Value* value);
  bool append_value(const Value& value, std::string_view layout_text);
  bool append_formatted(const Value& value, FieldLayout layout);
  bool fail(std::string message) {
    context_->fail(std::move(message));
    return false;
  }

  Context* context_;
  std::string_view format_;
  const Arguments& arguments_;
  TextBuilder out_;
  std::size_t next_ = 0;  // of the fields without a name
};

bool BraceFormatter::find_field(std::string_view name, Value* value) {
  const std::size_t end = std::min(name.find_first_of(".["), name.size());
  const std::string_view first = name.substr(0, end);
  if (first.empty() || is_index(first)) {
    const std::size_t index = first.empty() ? next_++ : std::stoul(std::string(first));
    if (index >= arguments_.positional.size()) {
      return fail("Replacement index " + std::to_string(index) +
                  " out of range for positional args tuple");
    }
    *value = arguments_.positional[index];
  } else {
    const auto& named = arguments_.named;
    const auto found = std::find_if(named.begin(), named.end(),
                                    [&](const auto& argument) { return argument.first == first; });
    if (!context_->work(1 + named.size() / 8)) return false;
    if (found == named.end()) return fail(quote(first));
    *value = found->second;
  }
  return follow(name.substr(end), value);
}

/// Applies ".attribute" and "[item]" steps.
bool BraceFormatter::follow(std::string_view path, Value* value) {
  while (!path.empty() && !context_->failed()) {
    const bool is_item = path[0] == '[';
    const std::size_t end = is_item ? path.find(']') : path.find_first_of(".[", 1);
    if (is_item && end == std::string_view::npos) return fail("Missing ']' in format string");
    const std::size_t stop = std::min(end, path.size());
    const std::string name(path.substr(1, stop - 1));
    if (name.empty()) return fail("Empty attribute in format string");
    if (!is_item) {
      *value = get_attribute(context_, *value, name);
    } else if (is_index(name)) {
      *value = get_item(context_, *value, Value(static_cast<std::int64_t>(std::stoll(name))));
    } else {
      *value = get_item(context_, *value, context_->text(name));
    }
    path.remove_prefix(std::min(stop + (is_item ? 1 : 0), path.size()));
  }
  return !context_->failed();
}

bool BraceFormatter::append_formatted(const Value& value, FieldLayout layout) {
  const std::string_view integer_types = "dbxXon";
  const std::string_view real_types = "eEfFgG%";
  const char type = layout.type;
  const bool has_type = type != '\0';
  if (value.is_text() && (!has_type || type == 's') && layout.align != '=') {
    if (layout.align == '\0') layout.align = '<';
    return append_padded(context_, value.text().bytes, layout, &out_);
  }
  if (value.is_integral() && !has_type) layout.type = 'd';
  if (value.is_integral() && integer_types.find(layout.type) != std::string_view::npos) {
    if (layout.type == 'n') layout.type = 'd';
    return append_number(context_, value, layout, &out_);
  }
  if (value.is_number() && has_type && real_types.find(type) != std::string_view::npos) {
    return append_number(context_, value, layout, &out_);
  }
  if (value.kind() == Kind::real && !has_type && layout.precision < 0 && !layout.has_thousands) {
    if (layout.align == '\0') layout.align = '>';
    if (layout.align != '=')
      return append_padded(context_, to_text(context_, value), layout, &out_);
  }
  context_->fail_unsupported("unsupported format string passed to " +
                             std::string(type_name(value)) + ".__format__");
  return false;
}

bool BraceFormatter::append_value(const Value& value, std::string_view layout_text) {
  if (layout_text.empty()) return append_text(context_, value, &out_);
  FieldLayout layout;
  if (!read_layout(layout_text, &layout)) {
    return fail("Invalid format specifier " + quote(layout_text));
  }
  return append_formatted(value, layout);
}

/// `field`: what stands between the braces, "name!conversion:layout".
bool BraceFormatter::append_field(std::string_view field) {
  const std::size_t colon = std::min(field.find(':'), field.size());
  const std::string_view layout = colon < field.size() ? field.substr(colon + 1) : "";
  std::string_view name = field.substr(0, colon);
  char conversion = '\0';
  if (const std::size_t mark = name.find('!'); mark != std::string_view::npos) {
    if (mark + 2 != name.size()) return fail("expected one conversion character after '!'");
    conversion = name[mark + 1];
    name = name.substr(0, mark);
  }
  Value value;
  if (!find_field(name, &value)) return false;
  if (conversion == 'r') value = context_->text(to_repr(context_, value));
  if (conversion == 's') value = context_->text(to_text(context_, value));
  if (conversion != '\0' && conversion != 'r' && conversion != 's') {
    return fail("Unknown conversion specifier " + std::string(1, conversion));
  }
  return append_value(value, layout);
}

Value BraceFormatter::run() {
  for (std::size_t at = 0; at < format_.size();) {
    const std::size_t brace = std::min(format_.find_first_of("{}", at), format_.size());
    if (!out_.append(format_.substr(at, brace - at))) return {};
    if (brace == format_.size()) break;
    const char c = format_[brace];
    if (brace + 1 < format_.size() && format_[brace + 1] == c) {
      if (!out_.append(std::string_view(&c, 1))) return {};
      at = brace + 2;
      continue;
    }
    if (brace + 1 == format_.size() && c == '{') {
      return context_->fail("Single '{' encountered in format string");
    }
    if (c == '}') return context_->fail("Single '}' encountered in format string");
    const std::size_t close = format_.find_first_of("{}", brace + 1);
    if (close == std::string_view::npos) {
      return context_->fail("expected '}' before end of string");
    }
    if (format_[close] == '{') {
      return context_->fail_unsupported("nested fields in a format string are not supported");
    }
    if (!append_field(format_.substr(brace + 1, close - brace - 1))) return {};
    at = close + 1;
  }
  return context_->text(out_.take());
}

}  // namespace

Value brace_format(Context* context, const Text& format, const Arguments& arguments) {
  if (!context->work_bytes(format.bytes.size())) return {};
  return BraceFormatter(context, format.bytes, arguments).run();
}

}  // namespace runnel::jinja
