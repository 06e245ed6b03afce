// Cuts template source into tokens, with the white space rules of trim_blocks and lstrip_blocks.
// Used by the parser only.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace runnel::jinja {

enum class TokenKind : std::uint8_t {
  end,
  data,            // text outside tags
  variable_begin,  // {{
  variable_end,
  block_begin,  // {%
  block_end,
  name,
  text,  // a string literal, without quotes, still escaped
  integer,
  real,
  symbol,  // an operator or bracket
  error    // text: what is wrong
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::int32_t line = 1;
  std::string_view text;  // into the source held by the lexer, or a literal
};

class Lexer {
 public:
  /// Copies the source, with all line ends as \n and without the last one.
  explicit Lexer(std::string_view source);
  /// The next token. After `end` or `error` it returns the same again.
  Token next();

 private:
  enum class State : std::uint8_t { outside, variable, block };

  void lex_outside();
  void lex_comment(std::size_t begin);
  bool lex_raw(std::size_t tag);
  Token lex_inside();
  Token lex_number();
  Token lex_string();
  Token lex_symbol();
  bool close_tag(Token* token);

  bool starts_with(std::string_view what) const { return rest().substr(0, what.size()) == what; }
  std::string_view rest() const { return std::string_view(source_).substr(position_); }
  std::size_t skip_spaces(std::size_t at) const;
  std::string_view before_tag(std::size_t tag, char sign, bool is_variable) const;
  void advance(std::size_t to);
  Token make(TokenKind kind, std::size_t size);
  void fail(std::string_view message);

  std::string source_;
  std::size_t position_ = 0;
  std::int32_t line_ = 1;
  State state_ = State::outside;
  bool is_line_start_ = true;  // the last token ended with a line end
  std::vector<char> brackets_;
  std::deque<Token> pending_;
  bool has_failed_ = false;
  Token error_;
};

/// Value of a string literal: the escapes of Python's unicode-escape codec. An escape that Python
/// would reject stays as it is.
std::string unescaped(std::string_view literal);

}  // namespace runnel::jinja
