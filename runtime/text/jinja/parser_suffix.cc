// Parser: what follows a value: .name, [index], calls, filters and tests.
#include "runtime/text/jinja/parser.h"

namespace runnel::jinja {

void Parser::parse_accesses(std::vector<Suffix>* suffixes) {
  while (!failed() && (at_symbol(".") || at_symbol("[") || at_symbol("("))) {
    parse_access(suffixes);
  }
}

void Parser::parse_access(std::vector<Suffix>* suffixes) {
  Suffix suffix{SuffixKind::call, token().line, {}, {}, {}};
  if (at_symbol("(")) {
    suffix.arguments = parse_arguments();
  } else if (skip_symbol(".")) {
    if (token().kind == TokenKind::integer) {
      suffix.kind = SuffixKind::item;
      suffix.index[0] = parse_number();
    } else {
      suffix.kind = SuffixKind::attribute;
      suffix.name = expect_name();
    }
  } else {
    parse_subscript(suffixes);
    return;
  }
  suffixes->push_back(std::move(suffix));
}

void Parser::parse_subscript(std::vector<Suffix>* suffixes) {
  Suffix suffix{SuffixKind::item, token().line, {}, {}, {}};
  expect_symbol("[");
  if (!parse_slice(&suffix)) {
    ExpressionPtr first = parse_expression();
    if (at_symbol(":")) {
      suffix.kind = SuffixKind::slice;
      suffix.index[0] = std::move(first);
      parse_slice(&suffix);
    } else if (at_symbol(",")) {
      auto tuple = make(ExpressionKind::tuple);
      tuple->operands.push_back(std::move(first));
      while (!failed() && skip_symbol(",")) tuple->operands.push_back(parse_expression());
      suffix.index[0] = std::move(tuple);
    } else {
      suffix.index[0] = std::move(first);
    }
  }
  expect_symbol("]");
  suffixes->push_back(std::move(suffix));
}

/// Parses ":stop:step" at a colon; false elsewhere.
bool Parser::parse_slice(Suffix* suffix) {
  if (!skip_symbol(":")) return false;
  suffix->kind = SuffixKind::slice;
  if (!at_symbol(":") && !at_symbol("]")) suffix->index[1] = parse_expression();
  if (skip_symbol(":") && !at_symbol("]")) suffix->index[2] = parse_expression();
  return true;
}

void Parser::parse_filters_and_tests(std::vector<Suffix>* suffixes) {
  while (!failed()) {
    if (skip_symbol("|")) {
      parse_filter(suffixes);
    } else if (skip_name("is")) {
      parse_test(suffixes);
    } else if (at_symbol("(")) {
      parse_access(suffixes);
    } else {
      break;
    }
  }
}

std::string Parser::parse_dotted_name() {
  std::string name = expect_name();
  while (!failed() && skip_symbol(".")) name += "." + expect_name();
  return name;
}

void Parser::parse_filter(std::vector<Suffix>* suffixes) {
  Suffix suffix{SuffixKind::filter, token().line, {}, {}, {}};
  suffix.name = parse_dotted_name();
  if (at_symbol("(")) suffix.arguments = parse_arguments();
  suffixes->push_back(std::move(suffix));
}

void Parser::parse_test(std::vector<Suffix>* suffixes) {
  Suffix suffix{SuffixKind::test, token().line, {}, {}, {}};
  if (skip_name("not")) suffix.kind = SuffixKind::not_test;
  suffix.name = parse_dotted_name();
  const bool starts_value = token().kind == TokenKind::name || token().kind == TokenKind::text ||
                            token().kind == TokenKind::integer || token().kind == TokenKind::real ||
                            at_symbol("[") || at_symbol("{");
  if (at_symbol("(")) {
    suffix.arguments = parse_arguments();
  } else if (at_name("is")) {
    fail("You cannot chain multiple tests with is");
  } else if (starts_value && !at_name("else") && !at_name("or") && !at_name("and")) {
    auto argument = make(ExpressionKind::suffixed);
    if (!enter()) return;
    argument->operands.push_back(parse_primary());
    parse_accesses(&argument->suffixes);
    leave();
    suffix.arguments.positional.push_back(std::move(argument));
  }
  suffixes->push_back(std::move(suffix));
}

/// The filters of a block, applied to a name that stands for its text.
ExpressionPtr Parser::parse_filter_chain(bool starts_with_name) {
  auto chain = make(ExpressionKind::suffixed);
  auto subject = make(ExpressionKind::name);
  subject->name = kBlockText;
  chain->operands.push_back(std::move(subject));
  if (starts_with_name) parse_filter(&chain->suffixes);
  while (!failed() && skip_symbol("|")) parse_filter(&chain->suffixes);
  return chain;
}

CallArguments Parser::parse_arguments() {
  CallArguments arguments;
  expect_symbol("(");
  while (!failed() && !at_symbol(")")) {
    parse_argument(&arguments);
    if (!skip_symbol(",")) break;
  }
  expect_symbol(")");
  return arguments;
}

void Parser::parse_argument(CallArguments* arguments) {
  const bool has_star = arguments->star != nullptr;
  const bool has_star_star = arguments->star_star != nullptr;
  bool is_in_order = !has_star_star;
  if (skip_symbol("*")) {
    is_in_order = is_in_order && !has_star;
    arguments->star = parse_expression();
  } else if (skip_symbol("**")) {
    arguments->star_star = parse_expression();
  } else if (token().kind == TokenKind::name && look().kind == TokenKind::symbol &&
             look().text == "=") {
    std::string name = expect_name();
    skip();
    arguments->named.emplace_back(std::move(name), parse_expression());
  } else {
    is_in_order = is_in_order && !has_star && arguments->named.empty();
    arguments->positional.push_back(parse_expression());
  }
  if (!is_in_order) fail("invalid syntax for function call expression");
}

}  // namespace runnel::jinja
