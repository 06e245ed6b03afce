// Methods of text: 'abc'.upper() and so on, with Python's rules.
#include <algorithm>
#include <limits>

#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/format.h"
#include "runtime/text/jinja/methods.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/print.h"
#include "runtime/text/jinja/search.h"
#include "runtime/text/jinja/split.h"

namespace runnel::jinja {
namespace {

struct Call {
  Context* context;
  const Text& self;
  std::string_view name;
  const Arguments& arguments;
};

using MethodFunction = Value (*)(const Call& call);

struct MethodRow {
  std::string_view name;
  MethodFunction run;
};

bool bind(const Call& call,
          std::initializer_list<std::string_view> names,
          std::size_t n_required,
          Bound* out) {
  return call.context->work_bytes(call.self.bytes.size()) &&
         jinja::bind(call.context, call.name, call.arguments, names, n_required, out);
}

bool as_text(const Call& call, const Value& value, std::string_view* out) {
  if (value.is_text()) {
    *out = value.text().bytes;
    return true;
  }
  call.context->fail(std::string(call.name) + "() argument must be str, not " +
                     std::string(type_name(value)));
  return false;
}

bool as_integer(const Call& call, const Value& value, std::int64_t* out) {
  if (value.is_integral()) {
    *out = value.integer();
    return true;
  }
  if (reject_undefined(call.context, value)) {
    call.context->fail(in_quotes(type_name(value)) + " object cannot be interpreted as an integer");
  }
  return false;
}

template <std::string (*kMap)(std::string_view)>
Value mapped(const Call& call) {
  Bound bound;
  if (!bind(call, {}, 0, &bound) || !call.context->fits(call.self.bytes.size(), 3)) return {};
  return call.context->text(kMap(call.self.bytes));
}

template <Side kSide>
Value strip(const Call& call) {
  Bound bound;
  if (!bind(call, {"chars"}, 0, &bound)) return {};
  if (bound.values[0].is_none()) {
    return call.context->text(std::string(stripped(call.self.bytes, kSide)));
  }
  std::string_view set;
  if (!as_text(call, bound.values[0], &set) || !call.context->fits(set.size(), 4)) return {};
  if (!call.context->work_bytes(8 * set.size())) return {};
  return call.context->text(std::string(stripped(call.self.bytes, set, kSide)));
}

template <SplitFrom kFrom>
Value split(const Call& call) {
  Bound bound;
  if (!bind(call, {"sep", "maxsplit"}, 0, &bound)) return {};
  std::int64_t most = -1;
  if (bound.is_given[1] && !as_integer(call, bound.values[1], &most)) return {};
  if (bound.values[0].is_none()) return split_words(call.context, call.self.bytes, most, kFrom);
  std::string_view separator;
  if (!as_text(call, bound.values[0], &separator)) return {};
  if (separator.empty()) return call.context->fail("empty separator");
  return split_text(call.context, call.self.bytes, separator, most, kFrom);
}

Value splitlines(const Call& call) {
  Bound bound;
  if (!bind(call, {"keepends"}, 0, &bound)) return {};
  return split_lines(call.context, call.self.bytes, is_true(bound.values[0]));
}

/// The part of the text between two character positions, as slices count them; false when the
/// start is past the end.
bool part_of(const Call& call,
             const Value& start,
             const Value& stop,
             std::string_view* part,
             std::int64_t* first) {
  const auto length = static_cast<std::int64_t>(call.self.length);
  std::int64_t ends[2] = {0, length};
  const Value* given[2] = {&start, &stop};
  for (int i = 0; i < 2; ++i) {
    if (given[i]->is_none()) continue;
    if (!as_integer(call, *given[i], &ends[i])) return false;
    if (ends[i] < 0) ends[i] = std::max<std::int64_t>(ends[i] + length, 0);
  }
  if (ends[0] > length) return false;
  const std::string_view bytes = call.self.bytes;
  const std::size_t begin = offset_of(bytes, static_cast<std::size_t>(ends[0]));
  const std::size_t end = offset_of(bytes, static_cast<std::size_t>(std::min(ends[1], length)));
  *part = bytes.substr(begin, end > begin ? end - begin : 0);
  *first = ends[0];
  return ends[1] >= ends[0];
}

enum class At : std::uint8_t { start, end };

template <At kAt>
Value has_affix(const Call& call) {
  Bound bound;
  if (!bind(call, {"affix", "start", "end"}, 1, &bound)) return {};
  std::string_view part;
  std::int64_t first = 0;
  if (!part_of(call, bound.values[1], bound.values[2], &part, &first)) return Value(false);
  const auto matches = [&](std::string_view affix) {
    if (affix.size() > part.size()) return false;
    return part.substr(kAt == At::start ? 0 : part.size() - affix.size(), affix.size()) == affix;
  };
  if (bound.values[0].is_list(ListKind::tuple)) {
    for (const Value& item : bound.values[0].list().items) {
      std::string_view affix;
      if (!as_text(call, item, &affix) || !call.context->work(1)) return {};
      if (matches(affix)) return Value(true);
    }
    return Value(false);
  }
  if (!bound.values[0].is_text()) {
    return call.context->fail(std::string(call.name) +
                              " first arg must be str or a tuple of str, not " +
                              std::string(type_name(bound.values[0])));
  }
  return Value(matches(bound.values[0].text().bytes));
}

template <At kAt>
Value remove_affix(const Call& call) {
  Bound bound;
  std::string_view affix;
  if (!bind(call, {"affix"}, 1, &bound) || !as_text(call, bound.values[0], &affix)) return {};
  std::string_view bytes = call.self.bytes;
  const bool fits = affix.size() <= bytes.size();
  if (kAt == At::start && fits && bytes.substr(0, affix.size()) == affix) {
    bytes.remove_prefix(affix.size());
  } else if (kAt == At::end && fits && bytes.substr(bytes.size() - affix.size()) == affix) {
    bytes.remove_suffix(affix.size());
  }
  return call.context->text(std::string(bytes));
}

/// Character index of the first or last occurrence, -1 for none.
std::int64_t find_text(const Call& call, bool from_end) {
  Bound bound;
  std::string_view wanted;
  std::string_view part;
  std::int64_t first = 0;
  if (!bind(call, {"sub", "start", "end"}, 1, &bound)) return -1;
  if (!as_text(call, bound.values[0], &wanted)) return -1;
  if (!part_of(call, bound.values[1], bound.values[2], &part, &first)) return -1;
  const std::size_t at = from_end ? find_last(part, wanted) : find_first(part, wanted);
  if (at == std::string_view::npos) return -1;
  return first + static_cast<std::int64_t>(count_characters(part.substr(0, at)));
}

template <At kFrom>
Value find(const Call& call) {
  const std::int64_t index = find_text(call, kFrom == At::end);
  return call.context->failed() ? Value() : Value(index);
}

template <At kFrom>
Value index(const Call& call) {
  const std::int64_t found = find_text(call, kFrom == At::end);
  if (found < 0) return call.context->fail("substring not found");
  return Value(found);
}

Value count(const Call& call) {
  Bound bound;
  std::string_view wanted;
  std::string_view part;
  std::int64_t first = 0;
  if (!bind(call, {"sub", "start", "end"}, 1, &bound)) return {};
  if (!as_text(call, bound.values[0], &wanted)) return {};
  if (!part_of(call, bound.values[1], bound.values[2], &part, &first)) {
    return Value(std::int64_t{0});
  }
  if (wanted.empty()) return Value(static_cast<std::int64_t>(count_characters(part)) + 1);
  std::int64_t found = 0;
  for (std::size_t at = 0; (at = find_first(part, wanted, at)) != std::string_view::npos; ++found) {
    at += wanted.size();
  }
  return Value(found);
}

Value replace(const Call& call) {
  Bound bound;
  std::string_view from;
  std::string_view to;
  std::int64_t most = -1;
  if (!bind(call, {"old", "new", "count"}, 2, &bound)) return {};
  if (!as_text(call, bound.values[0], &from) || !as_text(call, bound.values[1], &to)) return {};
  if (bound.is_given[2] && !as_integer(call, bound.values[2], &most)) return {};
  return replace_text(call.context, call.self.bytes, from, to, most);
}

Value join(const Call& call) {
  Bound bound;
  if (!bind(call, {"iterable"}, 1, &bound)) return {};
  const Value items = iterate(call.context, bound.values[0]);
  if (call.context->failed()) return {};
  TextBuilder out(call.context);
  for (std::size_t i = 0; i < items.list().items.size(); ++i) {
    const Value& item = items.list().items[i];
    if (!item.is_text()) {
      return call.context->fail("sequence item " + std::to_string(i) + ": expected str instance, " +
                                std::string(type_name(item)) + " found");
    }
    if (i > 0 && !out.append(call.self.bytes)) return {};
    if (!out.append(item.text().bytes)) return {};
  }
  return call.context->text(out.take());
}

Value format(const Call& call) {
  return brace_format(call.context, call.self, call.arguments);
}

/// True when there is a character and `holds` is true for all of them.
Value all_characters(const Call& call, bool (*holds)(std::uint32_t)) {
  Bound bound;
  if (!bind(call, {}, 0, &bound)) return {};
  const std::string_view text = call.self.bytes;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    if (!holds(c.code)) return Value(false);
    at += c.bytes;
  }
  return Value(!text.empty());
}

template <bool (*kHolds)(std::uint32_t)>
Value is_all(const Call& call) {
  return all_characters(call, kHolds);
}

bool is_letter_or_number(std::uint32_t code) {
  return is_letter(code) || is_number(code);
}
bool is_ascii(std::uint32_t code) {
  return code < 0x80;
}

template <bool kUpper>
Value has_case(const Call& call) {
  Bound bound;
  if (!bind(call, {}, 0, &bound)) return {};
  return Value(has_only_case(call.self.bytes, kUpper));
}

enum class Place : std::uint8_t { left, right, center };

template <Place kPlace>
Value justify(const Call& call) {
  Bound bound;
  std::int64_t width = 0;
  std::string_view fill = " ";
  if (!bind(call, {"width", "fillchar"}, 1, &bound)) return {};
  if (!as_integer(call, bound.values[0], &width)) return {};
  if (bound.is_given[1] && !as_text(call, bound.values[1], &fill)) return {};
  if (count_characters(fill) != 1) {
    return call.context->fail("The fill character must be exactly one character long");
  }
  const auto length = static_cast<std::int64_t>(call.self.length);
  if (width <= length) return call.context->text(call.self.bytes);
  const auto margin = static_cast<std::size_t>(width - length);
  if (!call.context->fits(margin, 8 * fill.size())) return {};
  std::size_t left = kPlace == Place::right ? margin : 0;
  if (kPlace == Place::center) left = margin / 2 + (margin & static_cast<std::size_t>(width) & 1);
  TextBuilder out(call.context);
  if (!out.append_repeated(left, fill) || !out.append(call.self.bytes)) return {};
  if (!out.append_repeated(margin - left, fill)) return {};
  return call.context->text(out.take());
}

Value zfill(const Call& call) {
  Bound bound;
  std::int64_t width = 0;
  if (!bind(call, {"width"}, 1, &bound) || !as_integer(call, bound.values[0], &width)) return {};
  const auto length = static_cast<std::int64_t>(call.self.length);
  const std::string_view bytes = call.self.bytes;
  const std::size_t sign = !bytes.empty() && (bytes[0] == '-' || bytes[0] == '+') ? 1 : 0;
  const auto zeros = static_cast<std::size_t>(std::max<std::int64_t>(width - length, 0));
  TextBuilder out(call.context);
  if (!out.append(bytes.substr(0, sign)) || !out.append_repeated(zeros, "0")) return {};
  if (!out.append(bytes.substr(sign))) return {};
  return call.context->text(out.take());
}

std::string swapped_case(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    const std::string_view piece = text.substr(at, c.bytes);
    out += is_upper(c.code) ? to_lower(piece) : to_upper(piece);
    at += c.bytes;
  }
  return out;
}

Value unsupported(const Call& call) {
  return call.context->fail_unsupported("the method " + in_quotes(call.name) +
                                        " of strings is not supported");
}

constexpr MethodRow kMethods[] = {
    {"upper", mapped<to_upper>},
    {"lower", mapped<to_lower>},
    {"casefold", mapped<to_lower>},
    {"capitalize", mapped<capitalized>},
    {"title", mapped<title_case>},
    {"swapcase", mapped<swapped_case>},
    {"strip", strip<Side::both>},
    {"lstrip", strip<Side::left>},
    {"rstrip", strip<Side::right>},
    {"split", split<SplitFrom::start>},
    {"rsplit", split<SplitFrom::end>},
    {"splitlines", splitlines},
    {"startswith", has_affix<At::start>},
    {"endswith", has_affix<At::end>},
    {"removeprefix", remove_affix<At::start>},
    {"removesuffix", remove_affix<At::end>},
    {"find", find<At::start>},
    {"rfind", find<At::end>},
    {"index", index<At::start>},
    {"rindex", index<At::end>},
    {"count", count},
    {"replace", replace},
    {"join", join},
    {"format", format},
    {"isdigit", is_all<is_decimal>},
    {"isdecimal", is_all<is_decimal>},
    {"isnumeric", is_all<is_number>},
    {"isalpha", is_all<is_letter>},
    {"isalnum", is_all<is_letter_or_number>},
    {"isspace", is_all<is_space>},
    {"isascii", is_all<is_ascii>},
    {"isupper", has_case<true>},
    {"islower", has_case<false>},
    {"ljust", justify<Place::left>},
    {"rjust", justify<Place::right>},
    {"center", justify<Place::center>},
    {"zfill", zfill},
    {"encode", unsupported},
    {"expandtabs", unsupported},
    {"format_map", unsupported},
    {"isidentifier", unsupported},
    {"isprintable", unsupported},
    {"istitle", unsupported},
    {"maketrans", unsupported},
    {"partition", unsupported},
    {"rpartition", unsupported},
    {"translate", unsupported},
};

const MethodRow* find_row(std::string_view name) {
  const auto* end = kMethods + std::size(kMethods);
  const auto* row = std::find_if(kMethods, end, [&](const auto& r) { return r.name == name; });
  return row == end ? nullptr : row;
}

}  // namespace

std::string_view find_text_method(std::string_view name) {
  const MethodRow* row = find_row(name);
  return row == nullptr ? std::string_view() : row->name;
}

Value call_text_method(Context* context,
                       const Value& self,
                       std::string_view name,
                       const Arguments& arguments) {
  return find_row(name)->run({context, self.text(), name, arguments});
}

}  // namespace runnel::jinja
