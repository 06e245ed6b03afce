#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "runtime/text/jinja/context.h"
#include "runtime/text/jinja/parser.h"

namespace runnel::jinja {
namespace {

std::string without_underscores(std::string_view digits) {
  std::string out(digits);
  std::erase(out, '_');
  return out;
}

struct OperatorName {
  std::string_view text;
  Operator operation;
};

template <std::size_t N>
std::optional<Operator> find_operator(const Token& token, const OperatorName (&names)[N]) {
  if (token.kind != TokenKind::symbol) return std::nullopt;
  for (const OperatorName& name : names) {
    if (name.text == token.text) return name.operation;
  }
  return std::nullopt;
}

constexpr OperatorName kSums[] = {{"+", Operator::add}, {"-", Operator::subtract}};
constexpr OperatorName kProducts[] = {{"*", Operator::multiply},
                                      {"/", Operator::divide},
                                      {"//", Operator::floor_divide},
                                      {"%", Operator::modulo}};
constexpr OperatorName kPowers[] = {{"**", Operator::power}};
constexpr OperatorName kComparisons[] = {{"==", Operator::equal},  {"!=", Operator::not_equal},
                                         {"<", Operator::less},    {"<=", Operator::less_equal},
                                         {">", Operator::greater}, {">=", Operator::greater_equal}};

}  // namespace

std::unique_ptr<Expression> Parser::make(ExpressionKind kind) const {
  auto node = std::make_unique<Expression>();
  node->kind = kind;
  node->line = token().line;
  return node;
}

/// REQUIRES of `next`: returns the operator at the current position and skips it, or nothing.
template <class Next, class Parse>
ExpressionPtr Parser::parse_chain(ExpressionKind kind, Next next, Parse parse) {
  auto chain = make(kind);
  ExpressionPtr first = parse();
  std::optional<Operator> operation = next();
  if (!operation || failed()) return first;
  chain->operands.push_back(std::move(first));
  while (operation && !failed()) {
    chain->operators.push_back(*operation);
    chain->operands.push_back(parse());
    operation = next();
  }
  return chain;
}

bool Parser::at_tuple_end() const {
  return token().kind == TokenKind::variable_end || token().kind == TokenKind::block_end ||
         at_symbol(")");
}

ExpressionPtr Parser::parse_tuple(TupleUse use) {
  auto tuple = make(ExpressionKind::tuple);
  bool is_tuple = false;
  while (!failed() && !at_tuple_end()) {
    if (use == TupleUse::value_without_condition) {
      if (!enter()) return nullptr;
      tuple->operands.push_back(parse_or());
      leave();
    } else {
      tuple->operands.push_back(parse_expression());
    }
    if (!skip_symbol(",")) break;
    is_tuple = true;
  }
  if (failed()) return nullptr;
  if (!is_tuple && !tuple->operands.empty()) return std::move(tuple->operands.front());
  if (!is_tuple && use != TupleUse::parenthesized) {
    fail("Expected an expression");
    return nullptr;
  }
  return tuple;
}

ExpressionPtr Parser::parse_expression() {
  if (!enter()) return nullptr;
  ExpressionPtr result = parse_condition();
  leave();
  if (failed()) return nullptr;
  return result;
}

ExpressionPtr Parser::parse_condition() {
  ExpressionPtr value = parse_or();
  while (!failed() && skip_name("if")) {
    auto condition = make(ExpressionKind::condition);
    condition->operands.push_back(parse_or());
    condition->operands.push_back(std::move(value));
    if (skip_name("else")) condition->operands.push_back(parse_expression());
    // Without an else, "a if b if c if d" nests to the left: count that as depth.
    if (condition->operands.size() == 2 && at_name("if")) {
      if (!enter()) return nullptr;
      auto outer = make(ExpressionKind::condition);
      skip();
      outer->operands.push_back(parse_or());
      outer->operands.push_back(std::move(condition));
      leave();
      if (at_name("if")) fail("more than two conditions without 'else'");
      if (skip_name("else")) outer->operands.push_back(parse_expression());
      return outer;
    }
    value = std::move(condition);
  }
  return value;
}

ExpressionPtr Parser::parse_or() {
  const auto next = [this] {
    return skip_name("or") ? std::optional(Operator::equal) : std::nullopt;
  };
  return parse_chain(ExpressionKind::logical_or, next, [this] { return parse_and(); });
}

ExpressionPtr Parser::parse_and() {
  const auto next = [this] {
    return skip_name("and") ? std::optional(Operator::equal) : std::nullopt;
  };
  return parse_chain(ExpressionKind::logical_and, next, [this] { return parse_not(); });
}

ExpressionPtr Parser::parse_not() {
  if (!at_name("not")) return parse_compare();
  if (!enter()) return nullptr;
  auto node = make(ExpressionKind::logical_not);
  skip();
  node->operands.push_back(parse_not());
  leave();
  return node;
}

ExpressionPtr Parser::parse_compare() {
  const auto next = [this]() -> std::optional<Operator> {
    if (const auto operation = find_operator(token(), kComparisons)) {
      skip();
      return operation;
    }
    if (skip_name("in")) return Operator::in;
    if (at_name("not") && look().kind == TokenKind::name && look().text == "in") {
      skip();
      skip();
      return Operator::not_in;
    }
    return std::nullopt;
  };
  return parse_chain(ExpressionKind::compare, next, [this] { return parse_sum(); });
}

ExpressionPtr Parser::parse_sum() {
  const auto next = [this] {
    const auto operation = find_operator(token(), kSums);
    if (operation) skip();
    return operation;
  };
  return parse_chain(ExpressionKind::arithmetic, next, [this] { return parse_concatenation(); });
}

ExpressionPtr Parser::parse_concatenation() {
  const auto next = [this] {
    return skip_symbol("~") ? std::optional(Operator::add) : std::nullopt;
  };
  return parse_chain(ExpressionKind::concatenate, next, [this] { return parse_product(); });
}

ExpressionPtr Parser::parse_product() {
  const auto next = [this] {
    const auto operation = find_operator(token(), kProducts);
    if (operation) skip();
    return operation;
  };
  return parse_chain(ExpressionKind::arithmetic, next, [this] { return parse_power(); });
}

ExpressionPtr Parser::parse_power() {
  const auto next = [this] {
    const auto operation = find_operator(token(), kPowers);
    if (operation) skip();
    return operation;
  };
  return parse_chain(ExpressionKind::arithmetic, next, [this] { return parse_unary(true); });
}

ExpressionPtr Parser::parse_unary(bool with_filters) {
  ExpressionPtr node;
  if (at_symbol("-") || at_symbol("+")) {
    if (!enter()) return nullptr;
    auto sign = make(at_symbol("-") ? ExpressionKind::negate : ExpressionKind::plus);
    skip();
    sign->operands.push_back(parse_unary(false));
    leave();
    node = std::move(sign);
  } else {
    node = parse_primary();
  }
  auto suffixed = make(ExpressionKind::suffixed);
  parse_accesses(&suffixed->suffixes);
  if (with_filters) parse_filters_and_tests(&suffixed->suffixes);
  if (failed()) return nullptr;
  if (suffixed->suffixes.empty()) return node;
  suffixed->operands.push_back(std::move(node));
  return suffixed;
}

ExpressionPtr Parser::parse_primary() {
  switch (token().kind) {
    case TokenKind::name:
      return parse_name();
    case TokenKind::text:
      return parse_strings();
    case TokenKind::integer:
    case TokenKind::real:
      return parse_number();
    case TokenKind::symbol:
      break;
    default:
      fail_unexpected();
      return nullptr;
  }
  if (at_symbol("[")) return parse_list();
  if (at_symbol("{")) return parse_dict();
  if (!skip_symbol("(")) {
    fail_unexpected();
    return nullptr;
  }
  ExpressionPtr node = parse_tuple(TupleUse::parenthesized);
  expect_symbol(")");
  return node;
}

ExpressionPtr Parser::parse_name() {
  const std::string_view name = token().text;
  auto node = make(ExpressionKind::constant);
  if (name == "true" || name == "True") {
    node->constant = Value(true);
  } else if (name == "false" || name == "False") {
    node->constant = Value(false);
  } else if (name != "none" && name != "None") {
    node->kind = ExpressionKind::name;
    node->name = symbol(name);
    for (MacroDefinition* macro : open_macros_) {
      macro->uses_varargs |= name == "varargs";
      macro->uses_kwargs |= name == "kwargs";
      macro->uses_caller |= name == "caller";
    }
  }
  skip();
  return node;
}

ExpressionPtr Parser::parse_number() {
  auto node = make(ExpressionKind::constant);
  const std::string digits = without_underscores(token().text);
  const char* begin = digits.data();
  const char* end = begin + digits.size();
  if (token().kind == TokenKind::real) {
    double value = 0.0;
    if (std::from_chars(begin, end, value).ec == std::errc::result_out_of_range) {
      const std::size_t exponent = digits.find_first_of("eE");
      const bool is_tiny = exponent != std::string::npos && digits[exponent + 1] == '-';
      value = is_tiny ? 0.0 : std::numeric_limits<double>::infinity();
    }
    node->constant = Value(value);
  } else {
    std::int64_t value = 0;
    int base = 10;
    if (digits.size() > 2 && digits[0] == '0') {
      const char letter = static_cast<char>(digits[1] | 0x20);
      base = letter == 'x' ? 16 : (letter == 'o' ? 8 : (letter == 'b' ? 2 : 10));
    }
    if (base != 10) begin += 2;
    if (std::from_chars(begin, end, value, base).ec != std::errc()) fail("integer overflow");
    node->constant = Value(value);
  }
  skip();
  return node;
}

ExpressionPtr Parser::parse_strings() {
  auto node = make(ExpressionKind::constant);
  std::string joined;
  while (token().kind == TokenKind::text && !failed()) {
    joined += unescaped(token().text);
    skip();
  }
  node->constant = constant_text(std::move(joined));
  return node;
}

ExpressionPtr Parser::parse_list() {
  auto node = make(ExpressionKind::list);
  skip();
  while (!failed() && !at_symbol("]")) {
    node->operands.push_back(parse_expression());
    if (!skip_symbol(",")) break;
  }
  expect_symbol("]");
  return node;
}

ExpressionPtr Parser::parse_dict() {
  auto node = make(ExpressionKind::dict);
  skip();
  while (!failed() && !at_symbol("}")) {
    node->operands.push_back(parse_expression());
    expect_symbol(":");
    node->operands.push_back(parse_expression());
    if (!skip_symbol(",")) break;
  }
  expect_symbol("}");
  return node;
}

}  // namespace runnel::jinja
