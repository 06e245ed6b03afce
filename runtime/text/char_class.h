// The character classes that pre-tokenizer patterns tell apart. Pure function, thread-safe.
#pragma once
#include <cstdint>

namespace runnel {

/// Every code point is in exactly one class.
enum class CharClass : std::uint8_t {
  letter,   // \p{L}
  number,   // \p{N}
  newline,  // \r or \n; these are \s too
  space,    // \s, the White_Space property, without \r and \n
  other     // the rest: [^\s\p{L}\p{N}]
};

/// SOURCE: Unicode general category by utf8proc; White_Space of PropList.txt.
CharClass char_class(char32_t code_point);

}  // namespace runnel
