// Cuts text into the pre-tokens that byte pair merging never crosses. The three common patterns
// are written out by hand with exactly the meaning of their regular expressions (greedy,
// backtracking, alternatives in order); others go through PatternSplitter.
// Immutable, thread-safe. The table to read first is kPreTokenizers in pre_tokenizer.cc.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/text/pattern_splitter.h"

namespace runnel {

/// SOURCE: tokenizer.json of Llama 3, Qwen2 and GPT-2 (ByteLevel with use_regex).
inline constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

class PreTokenizer {
 public:
  enum class Family : std::uint8_t { llama3, qwen2, gpt2, pattern };

  /// `name`: tokenizer.ggml.pre, `pattern`: runnel.tokenizer.pattern; either may be absent.
  /// A known name decides. "default" or no name takes the pattern, and without one GPT-2's. Any
  /// other name needs a pattern. A pattern that is one of the three above gets its family.
  /// ERRORS: unsupported (unknown name without pattern; no PCRE2), corrupt (bad pattern).
  static Result<PreTokenizer> make(std::optional<std::string_view> name,
                                   std::optional<std::string_view> pattern);

  /// Appends the end offset of each pre-token of `text` to `ends`, ascending; the last one is
  /// text.size(). A byte that is not UTF-8 is a character of its own, neither letter, number nor
  /// space. Time is linear for the three families.
  void split(std::string_view text, std::vector<std::size_t>& ends) const;

  Family family() const { return family_; }

 private:
  explicit PreTokenizer(Family family) : family_(family) {}
  Family family_;
  std::optional<PatternSplitter> splitter_;  // Family::pattern only
};

}  // namespace runnel
