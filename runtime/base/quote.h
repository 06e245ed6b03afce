// Makes names that come from files safe to print in messages. Stateless, thread-safe.
#pragma once
#include <string>
#include <string_view>

namespace runnel {

/// 'name', with control characters and other non-ASCII bytes as \xNN and at most 80 bytes of it, so
/// that a hostile name can neither flood a log nor send escape sequences to a terminal.
std::string quote(std::string_view name);

}  // namespace runnel
