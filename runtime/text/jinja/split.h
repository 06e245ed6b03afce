// Cutting and replacing text within the budget of a context.
#pragma once
#include <cstdint>
#include <string_view>

#include "runtime/text/jinja/context.h"
#include "runtime/text/jinja/value.h"

namespace runnel::jinja {

enum class SplitFrom : std::uint8_t { start, end };

/// A list of the parts between separators; at most `most` cuts when it is >= 0.
/// REQUIRES: separator not empty.
Value split_text(Context* context,
                 std::string_view text,
                 std::string_view separator,
                 std::int64_t most,
                 SplitFrom from);
/// A list of the words between white space; at most `most` cuts when it is >= 0.
Value split_words(Context* context, std::string_view text, std::int64_t most, SplitFrom from);
/// A list of the lines, with their ends when `keeps_ends`.
Value split_lines(Context* context, std::string_view text, bool keeps_ends);
/// Replaces occurrences of `from`, at most `most` of them when it is >= 0. An empty `from` matches
/// before every character and at the end.
Value replace_text(Context* context,
                   std::string_view text,
                   std::string_view from,
                   std::string_view to,
                   std::int64_t most);

}  // namespace runnel::jinja
