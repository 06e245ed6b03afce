// Characters of UTF-8 text, with the classes and case rules that Python's str has. A byte that is
// not part of valid UTF-8 counts as one character of its own.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace runnel::jinja {

struct Character {
  std::uint32_t code;   // code point; 0xDC00 + byte for an invalid byte
  std::uint32_t bytes;  // 1-4
};

/// The character that starts at text[at]. REQUIRES: at < text.size().
Character character_at(std::string_view text, std::size_t at);
/// Number of characters.
std::size_t count_characters(std::string_view text);
/// Byte offset of the character with this index; text.size() past the end.
std::size_t offset_of(std::string_view text, std::size_t character_index);
void append_character(std::uint32_t code, std::string* out);

bool is_space(std::uint32_t code);
bool is_line_break(std::uint32_t code);
bool is_letter(std::uint32_t code);
bool is_decimal(std::uint32_t code);
/// Any number character: decimal digits, fractions, Roman numerals ...
bool is_number(std::uint32_t code);
bool is_upper(std::uint32_t code);
bool is_lower(std::uint32_t code);
/// What Python's repr() shows as it is.
bool is_printable(std::uint32_t code);

/// Simple case mapping of every character (and "SS" for sharp s).
std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
/// First character upper case, the rest lower case.
std::string capitalized(std::string_view text);
/// Every letter that does not follow a letter becomes upper case, the others lower case.
std::string title_case(std::string_view text);

/// Has cased letters, and none of the other case.
bool has_only_case(std::string_view text, bool wants_upper);

enum class Side : std::uint8_t { left, right, both };
/// Without the white space at the chosen ends.
std::string_view stripped(std::string_view text, Side side);
/// Without any of the characters of `set` at the chosen ends.
std::string_view stripped(std::string_view text, std::string_view set, Side side);

}  // namespace runnel::jinja
