#include "runtime/text/pre_tokenizer.h"

#include <string>
#include <utility>

#include "runtime/text/char_class.h"
#include "runtime/text/utf8.h"

namespace runnel {
namespace {

using Family = PreTokenizer::Family;

struct Row {
  std::string_view name;  // tokenizer.ggml.pre
  Family family;
};

constexpr Row kPreTokenizers[] = {
    {"lfm2", Family::llama3},     {"llama-bpe", Family::llama3}, {"llama3", Family::llama3},
    {"llama-v3", Family::llama3}, {"qwen2", Family::qwen2},      {"qwen3", Family::qwen2},
    {"gpt-2", Family::gpt2},      {"gpt2", Family::gpt2},
};

constexpr std::pair<std::string_view, Family> kPatterns[] = {
    {kLlama3Pattern, Family::llama3}, {kQwen2Pattern, Family::qwen2}, {kGpt2Pattern, Family::gpt2}};

struct Char {
  CharClass cls = CharClass::other;
  std::size_t n_bytes = 0;  // 0 at the end of the text
};

/// One pre-token at a time; each function follows one regular expression from `pos`.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}
  /// End of the pre-token at `pos`, kLlama3Pattern with \p{N}{1,max_digits}.
  std::size_t llama3(std::size_t pos, int max_digits) const;
  /// End of the pre-token at `pos`, kGpt2Pattern.
  std::size_t gpt2(std::size_t pos) const;

 private:
  enum class Case : std::uint8_t { exact, folded };
  Char at(std::size_t pos) const {
    if (pos >= text_.size()) return {};
    const Utf8Char c = decode_utf8(text_, pos);
    if (c.state != Utf8State::valid) return {CharClass::other, 1};
    return {char_class(c.code_point), c.n_bytes};
  }
  bool is(CharClass cls, std::size_t pos) const {
    const Char c = at(pos);
    return c.n_bytes > 0 && c.cls == cls;
  }
  /// End of the run of `cls` that starts at `pos`, at most `limit` characters.
  std::size_t skip(CharClass cls, std::size_t pos, std::size_t limit = SIZE_MAX) const {
    for (Char c = at(pos); limit > 0 && c.n_bytes > 0 && c.cls == cls; c = at(pos)) {
      pos += c.n_bytes;
      --limit;
    }
    return pos;
  }
  std::size_t contraction(std::size_t pos, Case letters) const;
  std::size_t white_space(std::size_t pos, bool newlines_apart) const;
  std::string_view text_;
};

/// 's|'t|'re|'ve|'m|'ll|'d at `pos`; returns its length or 0.
std::size_t Scanner::contraction(std::size_t pos, Case letters) const {
  if (text_[pos] != '\'') return 0;
  const auto letter = [&](std::size_t i) {
    const char c = i < text_.size() ? text_[i] : '\0';
    return letters == Case::folded && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  const char a = letter(pos + 1), b = letter(pos + 2);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
  // U+017F LATIN SMALL LETTER LONG S is the only other character whose case folding is in the list.
  if (letters == Case::folded && text_.substr(pos + 1, 2) == "\xC5\xBF") return 3;
  return 0;
}

/// \s*[\r\n]+|\s+(?!\S)|\s+ or, without newlines_apart, \s+(?!\S)|\s+.
/// REQUIRES: white space at `pos`.
std::size_t Scanner::white_space(std::size_t pos, bool newlines_apart) const {
  std::size_t end = pos, last_char = pos, after_newline = pos;
  for (Char c = at(end); c.n_bytes > 0; c = at(end)) {
    if (c.cls != CharClass::space && c.cls != CharClass::newline) break;
    last_char = end;
    end += c.n_bytes;
    if (c.cls == CharClass::newline) after_newline = end;
  }
  if (newlines_apart && after_newline > pos) return after_newline;
  if (end == text_.size() || last_char == pos) return end;
  return last_char;  // the last space stays with what follows
}

std::size_t Scanner::llama3(std::size_t pos, int max_digits) const {
  if (const std::size_t n = contraction(pos, Case::folded)) return pos + n;
  const Char c = at(pos);
  const std::size_t next = pos + c.n_bytes;
  const auto punctuation = [&](std::size_t from) {
    return skip(CharClass::newline, skip(CharClass::other, from));
  };
  switch (c.cls) {
    case CharClass::letter:
      return skip(CharClass::letter, pos);
    case CharClass::number:
      return skip(CharClass::number, pos, static_cast<std::size_t>(max_digits));
    case CharClass::other:
      if (is(CharClass::letter, next)) return skip(CharClass::letter, next);
      return punctuation(pos);
    case CharClass::space:
      if (is(CharClass::letter, next)) return skip(CharClass::letter, next);
      if (text_[pos] == ' ' && is(CharClass::other, next)) return punctuation(next);
      break;
    case CharClass::newline:
      break;
  }
  return white_space(pos, true);
}

std::size_t Scanner::gpt2(std::size_t pos) const {
  if (const std::size_t n = contraction(pos, Case::exact)) return pos + n;
  const std::size_t start = text_[pos] == ' ' ? pos + 1 : pos;
  const Char c = at(start);
  if (c.n_bytes > 0 && c.cls != CharClass::space && c.cls != CharClass::newline)
    return skip(c.cls, start);
  return white_space(pos, false);
}

}  // namespace

Result<PreTokenizer> PreTokenizer::make(std::optional<std::string_view> name,
                                        std::optional<std::string_view> pattern) {
  for (const Row& row : kPreTokenizers)
    if (name == row.name) return PreTokenizer(row.family);
  if (pattern) {
    for (const auto& [text, family] : kPatterns)
      if (*pattern == text) return PreTokenizer(family);
    Result<PatternSplitter> splitter = PatternSplitter::compile(*pattern);
    if (!splitter.ok()) return splitter.status();
    PreTokenizer made(Family::pattern);
    made.splitter_ = *std::move(splitter);
    return made;
  }
  if (!name || *name == "default") return PreTokenizer(Family::gpt2);
  return Status(Code::unsupported, "pre-tokenizer \"" + std::string(name->substr(0, 100)) +
                                       "\" is unknown and no pattern is given");
}

void PreTokenizer::split(std::string_view text, std::vector<std::size_t>& ends) const {
  if (splitter_) {
    splitter_->split(text, ends);
    return;
  }
  const Scanner scanner(text);
  for (std::size_t pos = 0; pos < text.size();) {
    pos = family_ == Family::gpt2 ? scanner.gpt2(pos)
                                  : scanner.llama3(pos, family_ == Family::qwen2 ? 1 : 3);
    ends.push_back(pos);
  }
}

}  // namespace runnel
