#include "runtime/text/utf8.h"

namespace runnel {
namespace {

/// What a first byte promises: how many bytes follow and the range of the second one.
struct Lead {
  std::uint8_t n_following = 0;  // 0: not a first byte of a longer character
  std::uint8_t low = 0x80;
  std::uint8_t high = 0xBF;
};

Lead lead_of(std::uint8_t byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {1};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};  // shorter forms exist
  if (byte == 0xED) return {2, 0x80, 0x9F};  // surrogates
  if (byte >= 0xE1 && byte <= 0xEF) return {2};
  if (byte == 0xF0) return {3, 0x90, 0xBF};  // shorter forms exist
  if (byte >= 0xF1 && byte <= 0xF3) return {3};
  if (byte == 0xF4) return {3, 0x80, 0x8F};  // above U+10FFFF
  return {};
}

}  // namespace

Utf8Char decode_utf8(std::string_view text, std::size_t pos) {
  const auto first = static_cast<std::uint8_t>(text[pos]);
  if (first < 0x80) return {first, 1, Utf8State::valid};
  Lead lead = lead_of(first);
  if (lead.n_following == 0) return {0xFFFD, 1, Utf8State::broken};
  char32_t code_point = first & (0x3Fu >> lead.n_following);
  for (std::uint8_t i = 1; i <= lead.n_following; ++i) {
    if (pos + i >= text.size()) return {0xFFFD, i, Utf8State::incomplete};
    const auto byte = static_cast<std::uint8_t>(text[pos + i]);
    if (byte < lead.low || byte > lead.high) return {0xFFFD, i, Utf8State::broken};
    code_point = (code_point << 6) | (byte & 0x3Fu);
    lead.low = 0x80;
    lead.high = 0xBF;
  }
  return {code_point, static_cast<std::uint8_t>(lead.n_following + 1), Utf8State::valid};
}

bool is_valid_utf8(std::string_view text) {
  for (std::size_t pos = 0; pos < text.size();) {
    const Utf8Char c = decode_utf8(text, pos);
    if (c.state != Utf8State::valid) return false;
    pos += c.n_bytes;
  }
  return true;
}

}  // namespace runnel
