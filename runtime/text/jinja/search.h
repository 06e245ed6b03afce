// Substring search in linear time: the standard library's takes quadratic time on hostile text.
#pragma once
#include <cstddef>
#include <string_view>

namespace runnel::jinja {

/// Like text.find(wanted, from), in time linear in what is passed over plus wanted.
std::size_t find_first(std::string_view text, std::string_view wanted, std::size_t from = 0);
/// Like text.rfind(wanted).
std::size_t find_last(std::string_view text, std::string_view wanted);

}  // namespace runnel::jinja
