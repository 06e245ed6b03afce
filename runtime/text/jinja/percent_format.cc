// '%s and %d' % (a, b), as Python does it.
#include <algorithm>
#include <cmath>

#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/format.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/print.h"

namespace runnel::jinja {
namespace {

constexpr std::int64_t kMostWidth = std::int64_t{1} << 40;  // far beyond any memory limit

class PercentFormatter {
 public:
  PercentFormatter(Context* context, std::string_view format, const Value& arguments)
      : context_(context), format_(format), arguments_(arguments), out_(context) {}

  Value run();

 private:
  bool convert();
  bool read_flags(FieldLayout* layout);
  bool read_count(std::int64_t* count);
  bool read_key(Value* argument);
  bool next_argument(Value* argument);
  bool append(char type, FieldLayout layout, const Value& argument);
  bool append_integer(FieldLayout layout, const Value& argument);
  bool append_character(FieldLayout layout, const Value& argument);
  bool fail(std::string message) {
    context_->fail(std::move(message));
    return false;
  }
  bool at(char c) const { return at_ < format_.size() && format_[at_] == c; }

  Context* context_;
  std::string_view format_;
  const Value& arguments_;
  TextBuilder out_;
  std::size_t at_ = 0;
  std::size_t used_ = 0;  // arguments taken in order
  bool has_keys_ = false;
};

bool PercentFormatter::next_argument(Value* argument) {
  const bool is_tuple = arguments_.is_list(ListKind::tuple);
  const std::size_t given = is_tuple ? arguments_.list().items.size() : 1;
  if (used_ >= given) return fail("not enough arguments for format string");
  *argument = is_tuple ? arguments_.list().items[used_] : arguments_;
  ++used_;
  return true;
}

bool PercentFormatter::read_key(Value* argument) {
  const std::size_t close = format_.find(')', at_);
  if (close == std::string_view::npos) return fail("incomplete format key");
  if (!arguments_.is_dict()) return fail("format requires a mapping");
  const std::string_view key = format_.substr(at_ + 1, close - at_ - 1);
  const Value* found = arguments_.dict().find(key);
  if (found == nullptr) return fail(quote(key));
  *argument = *found;
  at_ = close + 1;
  has_keys_ = true;
  return true;
}

bool PercentFormatter::read_flags(FieldLayout* layout) {
  bool is_zero_filled = false;
  for (; at_ < format_.size(); ++at_) {
    const char c = format_[at_];
    if (c == '-') {
      layout->align = '<';
    } else if (c == '+' || (c == ' ' && layout->sign != '+')) {
      layout->sign = c;
    } else if (c == '0') {
      is_zero_filled = true;
    } else if (c == '#') {
      layout->is_alternate = true;
    } else if (c != ' ') {
      break;
    }
  }
  if (is_zero_filled && layout->align == '\0') {
    layout->align = '=';
    layout->fill = '0';
  }
  return true;
}

/// A width or precision: digits, or * for the next argument.
bool PercentFormatter::read_count(std::int64_t* count) {
  if (at('*')) {
    ++at_;
    Value argument;
    if (!next_argument(&argument)) return false;
    if (argument.kind() != Kind::integer) return fail("* wants int");
    *count = std::clamp(argument.integer(), -kMostWidth, kMostWidth);
    return true;
  }
  for (; at_ < format_.size() && format_[at_] >= '0' && format_[at_] <= '9'; ++at_) {
    *count = std::min(*count * 10 + (format_[at_] - '0'), kMostWidth);
  }
  return true;
}

bool PercentFormatter::convert() {
  Value argument;
  const bool has_key = at('(');
  if (has_key && !read_key(&argument)) return false;
  FieldLayout layout;
  if (!read_flags(&layout) || !read_count(&layout.width)) return false;
  if (layout.width < 0) {
    layout.width = -layout.width;
    layout.align = '<';
    layout.fill = ' ';
  }
  if (at('.')) {
    ++at_;
    layout.precision = 0;
    if (!read_count(&layout.precision)) return false;
    layout.precision = std::max<std::int64_t>(layout.precision, 0);
  }
  while (at('l') || at('h') || at('L')) ++at_;
  if (at_ >= format_.size()) return fail("incomplete format");
  const char type = format_[at_++];
  if (type == '%') return out_.append("%");
  if (!has_key && !next_argument(&argument)) return false;
  return append(type, layout, argument);
}

bool PercentFormatter::append_integer(FieldLayout layout, const Value& argument) {
  Value number = argument;
  const bool is_decimal = layout.type == 'd';
  if (is_decimal && number.kind() == Kind::real) {
    const double whole = std::trunc(number.real());
    if (!(std::fabs(whole) < 0x1.0p63)) return fail("integer overflow");
    number = Value(static_cast<std::int64_t>(whole));
  }
  if (!number.is_integral()) {
    const std::string wanted = is_decimal ? " format: a real number is required, not "
                                          : " format: an integer is required, not ";
    return fail("%" + std::string(1, layout.type) + wanted + std::string(type_name(argument)));
  }
  return append_number(context_, number, layout, &out_);
}

bool PercentFormatter::append_character(FieldLayout layout, const Value& argument) {
  std::string text;
  if (argument.is_text() && argument.text().length == 1) {
    text = argument.text().bytes;
  } else if (argument.is_integral() && argument.integer() >= 0 && argument.integer() < 0x110000) {
    jinja::append_character(static_cast<std::uint32_t>(argument.integer()), &text);
  } else {
    return fail("%c requires int or char");
  }
  layout.precision = -1;
  return append_padded(context_, text, layout, &out_);
}

bool PercentFormatter::append(char type, FieldLayout layout, const Value& argument) {
  layout.type = type == 'i' || type == 'u' ? 'd' : type;
  switch (layout.type) {
    case 'd':
    case 'x':
    case 'X':
    case 'o':
      return append_integer(layout, argument);
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
      if (!reject_undefined(context_, argument)) return false;
      if (!argument.is_number()) {
        return fail("must be real number, not " + std::string(type_name(argument)));
      }
      return append_number(context_, argument, layout, &out_);
    case 'c':
    case 's':
    case 'r':
    case 'a':
      layout.fill = ' ';
      if (layout.align != '<') layout.align = '>';
      if (type == 'c') return append_character(layout, argument);
      return append_padded(context_,
                           type == 's' ? to_text(context_, argument) : to_repr(context_, argument),
                           layout, &out_);
    default:
      return fail("unsupported format character " + quote(std::string(1, type)));
  }
}

Value PercentFormatter::run() {
  while (at_ < format_.size()) {
    const std::size_t next = std::min(format_.find('%', at_), format_.size());
    if (!out_.append(format_.substr(at_, next - at_))) return {};
    at_ = next + 1;
    if (next < format_.size() && !convert()) return {};
  }
  const bool is_tuple = arguments_.is_list(ListKind::tuple);
  const bool is_mapping =
      arguments_.is_dict() || arguments_.is_list(ListKind::list) || arguments_.is_undefined();
  const std::size_t given = is_tuple ? arguments_.list().items.size() : (is_mapping ? 0 : 1);
  if (used_ < given && !has_keys_) {
    return context_->fail("not all arguments converted during string formatting");
  }
  return context_->text(out_.take());
}

}  // namespace

Value percent_format(Context* context, const Text& format, const Value& arguments) {
  if (!context->work_bytes(format.bytes.size())) return {};
  return PercentFormatter(context, format.bytes, arguments).run();
}

}  // namespace runnel::jinja
