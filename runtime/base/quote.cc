#include "runtime/base/quote.h"

namespace runnel {

std::string quote(std::string_view name) {
  constexpr std::size_t kMaxBytes = 80;
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text = "'";
  for (const char c : name.substr(0, kMaxBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F) {
      text += c;
      continue;
    }
    text += "\\x";
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  text += name.size() > kMaxBytes ? "...'" : "'";
  return text;
}

}  // namespace runnel
