// HTML escaping, for the filters escape, forceescape and xmlattr.
#pragma once
#include <string>
#include <string_view>

#include "runtime/text/jinja/value.h"

namespace runnel::jinja {

/// & < > ' " as entities.
std::string escaped(std::string_view text);
/// The same, but text that is marked as safe stays as it is.
std::string escaped(const Text& text);

}  // namespace runnel::jinja
