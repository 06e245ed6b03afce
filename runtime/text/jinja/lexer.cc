#include "runtime/text/jinja/lexer.h"

#include <algorithm>

#include "runtime/text/jinja/characters.h"

namespace runnel::jinja {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Length of the digits of `base` at the start of text, single underscores between them allowed.
std::size_t digits_size(std::string_view text, int base) {
  std::size_t size = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const int digit = hex_digit(text[at]);
    if (digit >= 0 && digit < base) {
      size = at + 1;
    } else if (text[at] != '_' || at != size || at == 0) {
      break;
    }
  }
  return size;
}

std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out.push_back(source[i]);
      continue;
    }
    out.push_back('\n');
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

}  // namespace

Lexer::Lexer(std::string_view source) : source_(normalized(source)) {}

Token Lexer::next() {
  while (pending_.empty() && !has_failed_) {
    if (state_ != State::outside) return lex_inside();
    if (position_ == source_.size()) return {TokenKind::end, line_, {}};
    lex_outside();
  }
  if (pending_.empty()) return error_;
  const Token token = pending_.front();
  pending_.pop_front();
  return token;
}

void Lexer::fail(std::string_view message) {
  has_failed_ = true;
  error_ = {TokenKind::error, line_, message};
}

void Lexer::advance(std::size_t to) {
  const auto begin = source_.begin() + static_cast<std::ptrdiff_t>(position_);
  const auto end = source_.begin() + static_cast<std::ptrdiff_t>(to);
  line_ += static_cast<std::int32_t>(std::count(begin, end, '\n'));
  if (to > position_) is_line_start_ = source_[to - 1] == '\n';
  position_ = to;
}

std::size_t Lexer::skip_spaces(std::size_t at) const {
  while (at < source_.size()) {
    const Character c = character_at(source_, at);
    if (!is_space(c.code)) break;
    at += c.bytes;
  }
  return at;
}

/// The text from the current position to a tag, after white space control.
std::string_view Lexer::before_tag(std::size_t tag, char sign, bool is_variable) const {
  const std::string_view text = std::string_view(source_).substr(position_, tag - position_);
  if (sign == '-') return stripped(text, Side::right);
  if (sign == '+' || is_variable) return text;
  const std::size_t line_end = text.rfind('\n');
  const std::size_t begin = line_end == std::string_view::npos ? 0 : line_end + 1;
  if (begin == 0 && !is_line_start_) return text;
  return stripped(text.substr(begin), Side::left).empty() ? text.substr(0, begin) : text;
}

void Lexer::lex_outside() {
  std::size_t tag = position_;
  while (true) {
    tag = source_.find('{', tag);
    if (tag == std::string::npos || tag + 1 == source_.size()) {
      pending_.push_back(make(TokenKind::data, source_.size() - position_));
      return;
    }
    const char second = source_[tag + 1];
    if (second == '{' || second == '%' || second == '#') break;
    ++tag;
  }
  if (source_[tag + 1] == '%' && lex_raw(tag)) return;
  const bool is_variable = source_[tag + 1] == '{';
  std::size_t after = tag + 2;
  char sign = ' ';
  if (after < source_.size() && (source_[after] == '-' || source_[after] == '+')) {
    sign = source_[after++];
  }
  const std::string_view text = before_tag(tag, sign, is_variable);
  if (!text.empty()) pending_.push_back({TokenKind::data, line_, text});
  const bool is_comment = source_[tag + 1] == '#';
  advance(after);
  if (is_comment) {
    lex_comment(after);
    return;
  }
  state_ = is_variable ? State::variable : State::block;
  const TokenKind kind = is_variable ? TokenKind::variable_begin : TokenKind::block_begin;
  pending_.push_back({kind, line_, {}});
}

void Lexer::lex_comment(std::size_t begin) {
  const std::size_t close = source_.find("#}", begin);
  if (close == std::string::npos) {
    fail("Missing end of comment tag");
    return;
  }
  const char sign = close > begin ? source_[close - 1] : ' ';
  std::size_t after = close + 2;
  if (sign == '-') {
    after = skip_spaces(after);
  } else if (sign != '+' && after < source_.size() && source_[after] == '\n') {
    ++after;
  }
  advance(after);
}

/// Handles {% raw %} ... {% endraw %} at `tag`; false when another tag starts there.
bool Lexer::lex_raw(std::size_t tag) {
  const auto sign_at = [&](std::size_t at) {
    return at < source_.size() && (source_[at] == '-' || source_[at] == '+') ? source_[at] : ' ';
  };
  const auto is_at = [&](std::size_t at, std::string_view what) {
    return source_.compare(at, what.size(), what) == 0;
  };
  const char sign = sign_at(tag + 2);
  std::size_t at = skip_spaces(tag + 2 + (sign == ' ' ? 0 : 1));
  if (!is_at(at, "raw")) return false;
  at = skip_spaces(at + 3);
  if (is_at(at, "-%}")) {
    at = skip_spaces(at + 3);
  } else if (is_at(at, "%}")) {
    at += 2;
  } else {
    return false;
  }
  const std::string_view text = before_tag(tag, sign, false);
  if (!text.empty()) pending_.push_back({TokenKind::data, line_, text});
  advance(at);

  for (std::size_t end_tag = at; (end_tag = source_.find("{%", end_tag)) != std::string::npos;
       ++end_tag) {
    const char end_sign = sign_at(end_tag + 2);
    std::size_t after = skip_spaces(end_tag + 2 + (end_sign == ' ' ? 0 : 1));
    if (!is_at(after, "endraw")) continue;
    after = skip_spaces(after + 6);
    if (is_at(after, "-%}")) {
      after = skip_spaces(after + 3);
    } else if (is_at(after, "+%}")) {
      after += 3;
    } else if (is_at(after, "%}")) {
      after += is_at(after + 2, "\n") ? 3 : 2;
    } else {
      continue;
    }
    const std::string_view raw = before_tag(end_tag, end_sign, false);
    if (!raw.empty()) pending_.push_back({TokenKind::data, line_, raw});
    advance(after);
    return true;
  }
  fail("Missing end of raw directive");
  return true;
}

Token Lexer::make(TokenKind kind, std::size_t size) {
  const Token token{kind, line_, rest().substr(0, size)};
  advance(position_ + size);
  return token;
}

/// Recognises the end of the current tag, with its white space control.
bool Lexer::close_tag(Token* token) {
  if (!brackets_.empty()) return false;
  const bool is_block = state_ == State::block;
  const std::string_view close = is_block ? "%}" : "}}";
  std::size_t after = position_;
  if (starts_with("-") && rest().substr(1, 2) == close) {
    after = skip_spaces(position_ + 3);
  } else if (is_block && starts_with("+%}")) {
    after = position_ + 3;
  } else if (starts_with(close)) {
    after = position_ + 2;
    if (is_block && after < source_.size() && source_[after] == '\n') ++after;
  } else {
    return false;
  }
  *token = {is_block ? TokenKind::block_end : TokenKind::variable_end, line_, {}};
  advance(after);
  state_ = State::outside;
  return true;
}

Token Lexer::lex_inside() {
  Token token;
  if (close_tag(&token)) return token;
  advance(skip_spaces(position_));
  if (close_tag(&token)) return token;
  if (position_ == source_.size()) return {TokenKind::end, line_, {}};
  const char c = source_[position_];
  if (is_digit(c)) return lex_number();
  if (is_name_start(c)) {
    std::size_t size = 1;
    const std::string_view text = rest();
    while (size < text.size() && (is_name_start(text[size]) || is_digit(text[size]))) ++size;
    return make(TokenKind::name, size);
  }
  if (c == '"' || c == '\'') return lex_string();
  return lex_symbol();
}

Token Lexer::lex_number() {
  const std::string_view text = rest();
  const std::size_t whole = digits_size(text, 10);
  const bool after_dot = position_ > 0 && source_[position_ - 1] == '.';
  if (!after_dot) {
    std::size_t size = whole;
    if (size < text.size() && text[size] == '.') {
      const std::size_t fraction = digits_size(text.substr(size + 1), 10);
      if (fraction > 0) size += 1 + fraction;
    }
    if (size < text.size() && (text[size] == 'e' || text[size] == 'E')) {
      std::size_t digits = size + 1;
      if (digits < text.size() && (text[digits] == '+' || text[digits] == '-')) ++digits;
      const std::size_t exponent = digits_size(text.substr(std::min(digits, text.size())), 10);
      if (exponent > 0) size = digits + exponent;
    }
    if (size > whole) return make(TokenKind::real, size);
  }
  if (text[0] != '0') return make(TokenKind::integer, whole);
  if (text.size() > 2) {
    const char letter = static_cast<char>(text[1] | 0x20);
    const int base = letter == 'x' ? 16 : (letter == 'o' ? 8 : (letter == 'b' ? 2 : 0));
    const std::size_t skip = text[2] == '_' ? 3 : 2;
    const std::size_t digits = base == 0 ? 0 : digits_size(text.substr(skip), base);
    if (digits > 0) return make(TokenKind::integer, skip + digits);
  }
  std::size_t zeros = 1;  // 0, 00, 0_0; "012" is two tokens, as in Jinja
  while (zeros < whole && (text[zeros] == '0' || (text[zeros] == '_' && text[zeros + 1] == '0'))) {
    ++zeros;
  }
  return make(TokenKind::integer, zeros);
}

Token Lexer::lex_string() {
  const char quote = source_[position_];
  std::size_t at = position_ + 1;
  while (at < source_.size() && source_[at] != quote) at += source_[at] == '\\' ? 2 : 1;
  if (at >= source_.size()) {
    fail("unexpected char: a string that does not end");
    return error_;
  }
  Token token = make(TokenKind::text, at + 1 - position_);
  token.text = token.text.substr(1, token.text.size() - 2);
  return token;
}

Token Lexer::lex_symbol() {
  constexpr std::string_view kPairs[] = {"//", "**", "==", "!=", ">=", "<="};
  for (const std::string_view pair : kPairs) {
    if (starts_with(pair)) return make(TokenKind::symbol, 2);
  }
  const char c = source_[position_];
  if (std::string_view("+-/*%~[](){}<>=.:|,;").find(c) == std::string_view::npos) {
    fail("unexpected char");
    return error_;
  }
  constexpr std::string_view kOpen = "([{";
  constexpr std::string_view kClose = ")]}";
  if (const std::size_t open = kOpen.find(c); open != std::string_view::npos) {
    brackets_.push_back(kClose[open]);
  } else if (kClose.find(c) != std::string_view::npos) {
    if (brackets_.empty() || brackets_.back() != c) {
      fail("unexpected closing bracket");
      return error_;
    }
    brackets_.pop_back();
  }
  return make(TokenKind::symbol, 1);
}

namespace {

/// Reads up to `most` digits of `base`; returns how many.
std::size_t read_digits(std::string_view text, int base, std::size_t most, std::uint32_t* value) {
  std::size_t size = 0;
  *value = 0;
  while (size < most && size < text.size()) {
    const int digit = hex_digit(text[size]);
    if (digit < 0 || digit >= base) break;
    *value = *value * static_cast<std::uint32_t>(base) + static_cast<std::uint32_t>(digit);
    ++size;
  }
  return size;
}

/// Handles the escape after a backslash; returns the bytes used, 0 when it is none.
std::size_t append_escape(std::string_view text, std::string* out) {
  constexpr std::string_view kLetters = "abfnrtv\\'\"";
  constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\'\"";
  const char c = text[0];
  if (const std::size_t at = kLetters.find(c); at != std::string_view::npos) {
    out->push_back(kMeanings[at]);
    return 1;
  }
  if (c == '\n') return 1;
  std::uint32_t code = 0;
  if (const std::size_t octal = read_digits(text, 8, 3, &code); octal > 0) {
    append_character(code, out);
    return octal;
  }
  const std::size_t wanted = c == 'x' ? 2 : (c == 'u' ? 4 : (c == 'U' ? 8 : 0));
  if (wanted == 0 || read_digits(text.substr(1), 16, wanted, &code) < wanted) return 0;
  if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return 0;
  append_character(code, out);
  return 1 + wanted;
}

}  // namespace

std::string unescaped(std::string_view literal) {
  std::string out;
  out.reserve(literal.size());
  for (std::size_t at = 0; at < literal.size();) {
    if (literal[at] == '\\' && at + 1 < literal.size()) {
      if (const std::size_t used = append_escape(literal.substr(at + 1), &out); used > 0) {
        at += 1 + used;
        continue;
      }
    }
    out.push_back(literal[at++]);
  }
  return out;
}

}  // namespace runnel::jinja
