// UTF-8 decoding of one character, with the replacement practice of the Unicode standard.
// Pure functions, thread-safe.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace runnel {

enum class Utf8State : std::uint8_t {
  valid,
  broken,     // these bytes can never become a character
  incomplete  // the text ends inside a character that is right so far
};

struct Utf8Char {
  char32_t code_point = 0xFFFD;  // U+FFFD unless valid
  std::uint8_t n_bytes = 0;      // broken and incomplete: length of the maximal subpart, 1..3
  Utf8State state = Utf8State::valid;
};

/// The character at `pos`. REQUIRES: pos < text.size().
/// SOURCE: Unicode 15 section 3.9, table 3-7 and "U+FFFD substitution of maximal subparts".
Utf8Char decode_utf8(std::string_view text, std::size_t pos);

/// True when every byte belongs to a valid character.
bool is_valid_utf8(std::string_view text);

/// U+FFFD in UTF-8.
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

}  // namespace runnel
