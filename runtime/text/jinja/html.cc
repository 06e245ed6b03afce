#include "runtime/text/jinja/html.h"

namespace runnel::jinja {

std::string escaped(std::string_view text) {
  constexpr std::string_view kSpecial = "&<>'\"";
  constexpr std::string_view kEntities[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const std::size_t at = kSpecial.find(c);
    if (at == std::string_view::npos) {
      out.push_back(c);
    } else {
      out.append(kEntities[at]);
    }
  }
  return out;
}

std::string escaped(const Text& text) {
  return text.is_safe ? text.bytes : escaped(std::string_view(text.bytes));
}

}  // namespace runnel::jinja
