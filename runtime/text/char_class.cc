#include "runtime/text/char_class.h"

#include <utf8proc.h>

#include <array>

namespace runnel {
namespace {

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

constexpr std::array<CharClass, 128> make_ascii() {
  std::array<CharClass, 128> classes{};
  for (std::size_t c = 0; c < 128; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    classes[c] = letter                            ? CharClass::letter
                 : c >= '0' && c <= '9'            ? CharClass::number
                 : c == '\r' || c == '\n'          ? CharClass::newline
                 : c == ' ' || (c >= 9 && c <= 13) ? CharClass::space
                                                   : CharClass::other;
  }
  return classes;
}

constexpr std::array<CharClass, 128> kAscii = make_ascii();

}  // namespace

CharClass char_class(char32_t code_point) {
  if (code_point < 128) return kAscii[code_point];
  if (is_white_space(code_point)) return CharClass::space;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code_point))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharClass::letter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharClass::number;
    default:
      return CharClass::other;
  }
}

}  // namespace runnel
