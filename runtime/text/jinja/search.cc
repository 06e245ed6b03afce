#include "runtime/text/jinja/search.h"

#include <cstdint>
#include <vector>

namespace runnel::jinja {
namespace {

constexpr std::size_t kShort = 32;  // the library's search is fine up to this length

/// Knuth, Morris and Pratt. `text` and `wanted` map an index to a character, which lets the same
/// code run backwards. Returns the index of the first match, or npos.
template <class Text, class Wanted>
std::size_t search(std::size_t text_size, Text text, std::size_t wanted_size, Wanted wanted) {
  std::vector<std::size_t> border(wanted_size, 0);  // longest proper border of each prefix
  for (std::size_t i = 1, length = 0; i < wanted_size; ++i) {
    while (length > 0 && wanted(i) != wanted(length)) length = border[length - 1];
    if (wanted(i) == wanted(length)) ++length;
    border[i] = length;
  }
  for (std::size_t i = 0, length = 0; i < text_size; ++i) {
    while (length > 0 && text(i) != wanted(length)) length = border[length - 1];
    if (text(i) == wanted(length)) ++length;
    if (length == wanted_size) return i + 1 - wanted_size;
  }
  return std::string_view::npos;
}

}  // namespace

std::size_t find_first(std::string_view text, std::string_view wanted, std::size_t from) {
  if (wanted.size() <= kShort || from > text.size()) return text.find(wanted, from);
  const std::string_view rest = text.substr(from);
  if (wanted.size() > rest.size()) return std::string_view::npos;
  const std::size_t at = search(
      rest.size(), [&](std::size_t i) { return rest[i]; }, wanted.size(),
      [&](std::size_t i) { return wanted[i]; });
  return at == std::string_view::npos ? at : from + at;
}

std::size_t find_last(std::string_view text, std::string_view wanted) {
  if (wanted.size() <= kShort) return text.rfind(wanted);
  if (wanted.size() > text.size()) return std::string_view::npos;
  const std::size_t at = search(
      text.size(), [&](std::size_t i) { return text[text.size() - 1 - i]; }, wanted.size(),
      [&](std::size_t i) { return wanted[wanted.size() - 1 - i]; });
  return at == std::string_view::npos ? at : text.size() - at - wanted.size();
}

}  // namespace runnel::jinja
