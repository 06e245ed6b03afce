#include "runtime/text/byte_level.h"

#include <array>

#include "runtime/text/utf8.h"

namespace runnel {
namespace {

constexpr bool is_printable(int byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

constexpr std::array<std::uint16_t, 256> make_chars() {
  std::array<std::uint16_t, 256> chars{};
  std::uint16_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte)
    chars[static_cast<std::size_t>(byte)] =
        is_printable(byte) ? static_cast<std::uint16_t>(byte) : next++;
  return chars;
}

constexpr std::array<std::uint16_t, 256> kChars = make_chars();
constexpr std::size_t kEnd = 0x144;  // one past the last character, U+0143

constexpr std::array<std::int16_t, kEnd> make_bytes() {
  std::array<std::int16_t, kEnd> bytes{};
  for (std::int16_t& byte : bytes) byte = -1;
  for (std::size_t byte = 0; byte < 256; ++byte)
    bytes[kChars[byte]] = static_cast<std::int16_t>(byte);
  return bytes;
}

constexpr std::array<std::int16_t, kEnd> kBytes = make_bytes();

}  // namespace

char32_t byte_level_char(std::uint8_t byte) {
  return kChars[byte];
}

bool byte_level_decode(std::string_view text, std::string& out) {
  const std::size_t before = out.size();
  for (std::size_t pos = 0; pos < text.size();) {
    const Utf8Char c = decode_utf8(text, pos);
    // A broken character reads as U+FFFD, which stands for no byte.
    if (c.code_point >= kEnd || kBytes[c.code_point] < 0) {
      out.resize(before);
      return false;
    }
    out += static_cast<char>(kBytes[c.code_point]);
    pos += c.n_bytes;
  }
  return true;
}

}  // namespace runnel
