#include "runtime/text/jinja/split.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/search.h"

namespace runnel::jinja {
namespace {

std::uint64_t limit_of(std::int64_t most) {
  return most < 0 ? std::numeric_limits<std::uint64_t>::max() : static_cast<std::uint64_t>(most);
}

/// Collects parts as values while they fit into the budget.
class Parts {
 public:
  explicit Parts(Context* context) : context_(context) {}
  bool add(std::string_view part) {
    if (!context_->fits(items_.size() + 1, 2 * sizeof(Value))) return false;
    items_.push_back(context_->text(std::string(part)));
    return !context_->failed();
  }
  std::size_t size() const { return items_.size(); }
  Value take(SplitFrom from) {
    if (context_->failed()) return {};
    if (from == SplitFrom::end) std::reverse(items_.begin(), items_.end());
    return context_->list(std::move(items_));
  }

 private:
  Context* context_;
  std::vector<Value> items_;
};

/// The word at the chosen end of text without white space there.
std::string_view first_word(std::string_view text, SplitFrom from) {
  std::size_t word_end = text.size();  // for words from the start
  std::size_t word_begin = 0;          // for words from the end
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    if (is_space(c.code)) {
      if (from == SplitFrom::start) {
        word_end = at;
        break;
      }
      word_begin = at + c.bytes;
    }
    at += c.bytes;
  }
  return from == SplitFrom::start ? text.substr(0, word_end) : text.substr(word_begin);
}

Value split_words_from_start(Context* context, std::string_view text, std::uint64_t most) {
  Parts parts(context);
  std::string_view rest = stripped(text, Side::left);
  while (!rest.empty()) {
    if (parts.size() >= most) {
      parts.add(rest);
      break;
    }
    const std::string_view word = first_word(rest, SplitFrom::start);
    if (!parts.add(word)) return {};
    rest = stripped(rest.substr(word.size()), Side::left);
  }
  return parts.take(SplitFrom::start);
}

}  // namespace

Value split_text(Context* context,
                 std::string_view text,
                 std::string_view separator,
                 std::int64_t most,
                 SplitFrom from) {
  if (!context->work_bytes(text.size())) return {};
  const std::uint64_t limit = limit_of(most);
  const bool from_start = from == SplitFrom::start;
  Parts parts(context);
  std::string_view rest = text;
  while (parts.size() < limit) {
    const std::size_t at = from_start ? find_first(rest, separator) : find_last(rest, separator);
    if (at == std::string_view::npos) break;
    const std::string_view after = rest.substr(at + separator.size());
    const std::string_view before = rest.substr(0, at);
    if (!parts.add(from_start ? before : after)) return {};
    rest = from_start ? after : before;
  }
  parts.add(rest);
  return parts.take(from);
}

Value split_words(Context* context, std::string_view text, std::int64_t most, SplitFrom from) {
  if (!context->work_bytes(text.size())) return {};
  const std::uint64_t limit = limit_of(most);
  if (from == SplitFrom::start || most < 0) return split_words_from_start(context, text, limit);
  Parts parts(context);
  std::string_view rest = stripped(text, Side::right);
  while (!rest.empty()) {
    if (parts.size() >= limit) {
      parts.add(rest);
      break;
    }
    if (!context->work_bytes(rest.size())) return {};
    const std::string_view word = first_word(rest, SplitFrom::end);
    if (!parts.add(word)) return {};
    rest = stripped(rest.substr(0, rest.size() - word.size()), Side::right);
  }
  return parts.take(SplitFrom::end);
}

Value split_lines(Context* context, std::string_view text, bool keeps_ends) {
  if (!context->work_bytes(text.size())) return {};
  Parts parts(context);
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    std::size_t after = at + c.bytes;
    if (is_line_break(c.code)) {
      if (c.code == '\r' && after < text.size() && text[after] == '\n') ++after;
      const std::size_t end = keeps_ends ? after : at;
      if (!parts.add(text.substr(begin, end - begin))) return {};
      begin = after;
    }
    at = after;
  }
  if (begin < text.size()) parts.add(text.substr(begin));
  return parts.take(SplitFrom::start);
}

Value replace_text(Context* context,
                   std::string_view text,
                   std::string_view from,
                   std::string_view to,
                   std::int64_t most) {
  if (!context->work_bytes(text.size())) return {};
  const std::uint64_t limit = limit_of(most);
  TextBuilder out(context);
  std::size_t at = 0;
  for (std::uint64_t done = 0; done < limit; ++done) {
    if (from.empty()) {
      if (!out.append(to)) return {};
      if (at == text.size()) break;
      const std::size_t size = character_at(text, at).bytes;
      if (!out.append(text.substr(at, size))) return {};
      at += size;
      continue;
    }
    const std::size_t next = find_first(text, from, at);
    if (next == std::string_view::npos) break;
    if (!out.append(text.substr(at, next - at)) || !out.append(to)) return {};
    at = next + from.size();
  }
  if (!out.append(text.substr(at))) return {};
  return context->text(out.take());
}

}  // namespace runnel::jinja
