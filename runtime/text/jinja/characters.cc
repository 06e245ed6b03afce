#include "runtime/text/jinja/characters.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace runnel::jinja {
namespace {

utf8proc_category_t category(std::uint32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

bool is_continuation(unsigned char byte) {
  return (byte & 0xC0U) == 0x80U;
}

std::uint32_t upper_code(std::uint32_t code) {
  return static_cast<std::uint32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code)));
}

std::uint32_t lower_code(std::uint32_t code) {
  return static_cast<std::uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code)));
}

void append_raw(std::string_view text, std::size_t at, const Character& c, std::string* out) {
  out->append(text.substr(at, c.bytes));
}

void append_upper(std::string_view text, std::size_t at, const Character& c, std::string* out) {
  if (c.code == 0xDF) {
    out->append("SS");
  } else if (const std::uint32_t code = upper_code(c.code); code != c.code) {
    append_character(code, out);
  } else {
    append_raw(text, at, c, out);
  }
}

void append_lower(std::string_view text, std::size_t at, const Character& c, std::string* out) {
  if (const std::uint32_t code = lower_code(c.code); code != c.code) {
    append_character(code, out);
  } else {
    append_raw(text, at, c, out);
  }
}

/// A multiple of 8 bytes from here on that are ASCII, counted 8 at a time.
std::size_t ascii_run(std::string_view text, std::size_t at) {
  std::size_t size = 0;
  for (std::uint64_t word = 0; at + size + sizeof(word) <= text.size(); size += sizeof(word)) {
    std::memcpy(&word, text.data() + at + size, sizeof(word));
    if ((word & 0x8080808080808080U) != 0) break;
  }
  return size;
}

/// Start of the last character. REQUIRES: text not empty.
std::size_t last_offset(std::string_view text) {
  const std::size_t size = text.size();
  for (std::size_t back = std::min<std::size_t>(4, size); back > 1; --back) {
    if (character_at(text, size - back).bytes == back) return size - back;
  }
  return size - 1;
}

template <class Test>
std::string_view strip_if(std::string_view text, Side side, Test test) {
  if (side != Side::right) {
    while (!text.empty()) {
      const Character c = character_at(text, 0);
      if (!test(c.code)) break;
      text.remove_prefix(c.bytes);
    }
  }
  if (side != Side::left) {
    while (!text.empty()) {
      const std::size_t at = last_offset(text);
      if (!test(character_at(text, at).code)) break;
      text = text.substr(0, at);
    }
  }
  return text;
}

}  // namespace

Character character_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1};
  const Character invalid{0xDC00U + first, 1};
  std::uint32_t bytes = 0;
  if (first >= 0xC2 && first <= 0xDF) bytes = 2;
  if (first >= 0xE0 && first <= 0xEF) bytes = 3;
  if (first >= 0xF0 && first <= 0xF4) bytes = 4;
  if (bytes == 0 || bytes > text.size() - at) return invalid;
  std::uint32_t code = first & (0xFFU >> (bytes + 1));
  for (std::uint32_t i = 1; i < bytes; ++i) {
    if (!is_continuation(byte(i))) return invalid;
    code = (code << 6) | (byte(i) & 0x3FU);
  }
  constexpr std::uint32_t kLowest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kLowest[bytes] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return invalid;
  return {code, bytes};
}

std::size_t count_characters(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (const std::size_t plain = ascii_run(text, at); plain > 0) {
      at += plain;
      count += plain;
      continue;
    }
    at += character_at(text, at).bytes;
    ++count;
  }
  return count;
}

std::size_t offset_of(std::string_view text, std::size_t character_index) {
  std::size_t at = 0;
  for (; character_index > 0 && at < text.size(); --character_index) {
    at += character_at(text, at).bytes;
  }
  return at;
}

void append_character(std::uint32_t code, std::string* out) {
  const auto put = [&](std::uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | (code >> 18));
    put(0x80 | ((code >> 12) & 0x3F));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

bool is_space(std::uint32_t code) {
  if (code < 0x80) return code == ' ' || (code >= 9 && code <= 13) || (code >= 28 && code <= 31);
  return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
         code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool is_line_break(std::uint32_t code) {
  return (code >= 10 && code <= 13) || (code >= 28 && code <= 30) || code == 0x85 ||
         code == 0x2028 || code == 0x2029;
}

bool is_letter(std::uint32_t code) {
  const utf8proc_category_t c = category(code);
  return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(std::uint32_t code) {
  return category(code) == UTF8PROC_CATEGORY_ND;
}

bool is_number(std::uint32_t code) {
  const utf8proc_category_t c = category(code);
  return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO;
}

bool is_upper(std::uint32_t code) {
  return category(code) == UTF8PROC_CATEGORY_LU;
}

bool is_lower(std::uint32_t code) {
  return category(code) == UTF8PROC_CATEGORY_LL;
}

bool is_printable(std::uint32_t code) {
  if (code < 0x80) return code >= 32 && code != 127;
  switch (category(code)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

std::string to_upper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    append_upper(text, at, c, &out);
    at += c.bytes;
  }
  return out;
}

std::string to_lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    append_lower(text, at, c, &out);
    at += c.bytes;
  }
  return out;
}

std::string capitalized(std::string_view text) {
  if (text.empty()) return {};
  const std::size_t first = character_at(text, 0).bytes;
  std::string out = to_upper(text.substr(0, first));
  if (out == "SS") out = "Ss";
  return out + to_lower(text.substr(first));
}

std::string title_case(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_word = false;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    const bool is_cased = is_upper(c.code) || is_lower(c.code) || upper_code(c.code) != c.code ||
                          lower_code(c.code) != c.code;
    if (in_word) {
      append_lower(text, at, c, &out);
    } else {
      append_upper(text, at, c, &out);
    }
    in_word = is_cased;
    at += c.bytes;
  }
  return out;
}

bool has_only_case(std::string_view text, bool wants_upper) {
  bool has_cased = false;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    if (wants_upper ? is_lower(c.code) : is_upper(c.code)) return false;
    has_cased = has_cased || is_upper(c.code) || is_lower(c.code);
    at += c.bytes;
  }
  return has_cased;
}

std::string_view stripped(std::string_view text, Side side) {
  return strip_if(text, side, is_space);
}

std::string_view stripped(std::string_view text, std::string_view set, Side side) {
  std::vector<std::uint32_t> codes;
  for (std::size_t at = 0; at < set.size();) {
    const Character c = character_at(set, at);
    codes.push_back(c.code);
    at += c.bytes;
  }
  std::sort(codes.begin(), codes.end());
  return strip_if(text, side, [&codes](std::uint32_t code) {
    return std::binary_search(codes.begin(), codes.end(), code);
  });
}

}  // namespace runnel::jinja
