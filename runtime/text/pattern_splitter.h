// Splits text by a regular expression from a model file, through PCRE2. Only for pre-tokenizers
// that pre_tokenizer.cc does not know. Immutable after compile, thread-safe.
#pragma once
#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace runnel {

class PatternSplitter {
 public:
  static constexpr std::size_t kMaxPatternBytes = 16384;

  /// False when the library was built without PCRE2.
  static bool available();
  /// ERRORS: unsupported (no PCRE2 in this build, pattern too long), corrupt with the position of
  /// a syntax error.
  static Result<PatternSplitter> compile(std::string_view pattern);
  ~PatternSplitter();
  PatternSplitter(PatternSplitter&&) noexcept;
  PatternSplitter& operator=(PatternSplitter&&) noexcept;

  /// Appends the end offset of each piece of `text` to `ends`, ascending; the last one is
  /// text.size(). Matches and the gaps between them are pieces. A byte that is not UTF-8 reads as
  /// U+FFFD. Where the pattern passes its match limits the rest of the text is one piece.
  void split(std::string_view text, std::vector<std::size_t>& ends) const;

 private:
  struct Impl;
  explicit PatternSplitter(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace runnel
