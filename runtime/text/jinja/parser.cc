#include "runtime/text/jinja/parser.h"

#include <algorithm>
#include <iterator>

namespace runnel::jinja {
namespace {

std::string described(const Token& token) {
  switch (token.kind) {
    case TokenKind::end:
      return "end of template";
    case TokenKind::data:
      return "template data / text";
    case TokenKind::variable_begin:
      return "begin of print statement";
    case TokenKind::variable_end:
      return "end of print statement";
    case TokenKind::block_begin:
      return "begin of statement block";
    case TokenKind::block_end:
      return "end of statement block";
    default:
      return std::string(token.text.substr(0, 60));
  }
}

}  // namespace

Result<Template> parse_template(std::string_view source, const TemplateLimits& limits) {
  if (source.size() > limits.source_bytes) {
    return Status(Code::unsupported,
                  "the template is larger than " + std::to_string(limits.source_bytes) + " bytes");
  }
  return Parser(source, limits).parse();
}

Parser::Parser(std::string_view source, const TemplateLimits& limits)
    : lexer_(source), max_depth_(limits.depth) {
  result_.names.emplace_back();  // kBlockText
}

Result<Template> Parser::parse() {
  skip();
  result_.body = parse_body({});
  if (!failed() && token().kind != TokenKind::end) fail_unexpected();
  if (failed()) return error_;
  return std::move(result_);
}

void Parser::fail(std::string message) {
  if (failed()) return;
  error_ = {Code::corrupt, "line " + std::to_string(token().line) + ": " + std::move(message)};
}

void Parser::fail_unsupported(std::string message) {
  if (failed()) return;
  error_ = {Code::unsupported, "line " + std::to_string(token().line) + ": " + std::move(message)};
}

void Parser::fail_unexpected() {
  fail(token().kind == TokenKind::end ? "unexpected end of template"
                                      : "unexpected '" + described(token()) + "'");
}

bool Parser::enter() {
  if (failed()) return false;
  if (++depth_ <= max_depth_) return true;
  --depth_;
  fail_unsupported("nested deeper than " + std::to_string(max_depth_));
  return false;
}

Symbol Parser::symbol(std::string_view name) {
  if (const auto found = symbols_.find(name); found != symbols_.end()) return found->second;
  const auto id = static_cast<Symbol>(result_.names.size());
  result_.names.emplace_back(name);
  symbols_.emplace(name, id);
  return id;
}

void Parser::skip() {
  current_ = has_next_ ? next_ : lexer_.next();
  has_next_ = false;
  if (current_.kind == TokenKind::error) fail(std::string(current_.text));
}

const Token& Parser::look() {
  if (!has_next_) next_ = lexer_.next();
  has_next_ = true;
  return next_;
}

bool Parser::at_symbol(std::string_view text) const {
  return current_.kind == TokenKind::symbol && current_.text == text;
}

bool Parser::at_name(std::string_view text) const {
  return current_.kind == TokenKind::name && current_.text == text;
}

bool Parser::skip_symbol(std::string_view text) {
  if (!at_symbol(text)) return false;
  skip();
  return true;
}

bool Parser::skip_name(std::string_view text) {
  if (!at_name(text)) return false;
  skip();
  return true;
}

void Parser::expect_symbol(std::string_view text) {
  if (skip_symbol(text)) return;
  fail("expected token '" + std::string(text) + "', got '" + described(token()) + "'");
}

void Parser::expect(TokenKind kind) {
  if (token().kind == kind) {
    skip();
    return;
  }
  Token wanted;
  wanted.kind = kind;
  fail("expected token '" + described(wanted) + "', got '" + described(token()) + "'");
}

std::string Parser::expect_name() {
  if (token().kind != TokenKind::name) {
    fail("expected a name, got '" + described(token()) + "'");
    return {};
  }
  std::string name(token().text);
  skip();
  return name;
}

/// Parses up to one of the end tags (or the end of the source when there are none) and stops at
/// the name of that tag.
Body Parser::parse_body(std::initializer_list<std::string_view> end_tags) {
  Body body;
  if (!enter()) return body;
  while (!failed() && token().kind != TokenKind::end) {
    if (token().kind == TokenKind::data) {
      body.emplace_back(StatementKind::text, token().line);
      body.back().text = std::string(token().text);
      skip();
    } else if (token().kind == TokenKind::variable_begin) {
      Statement output{StatementKind::output, token().line};
      skip();
      output.expressions.push_back(parse_tuple(TupleUse::value));
      expect(TokenKind::variable_end);
      body.push_back(std::move(output));
    } else {
      expect(TokenKind::block_begin);
      const bool is_end = std::any_of(end_tags.begin(), end_tags.end(),
                                      [this](std::string_view tag) { return at_name(tag); });
      if (is_end) break;
      parse_statement(&body);
      expect(TokenKind::block_end);
    }
  }
  if (end_tags.size() > 0 && token().kind == TokenKind::end) {
    fail("unexpected end of template, looking for '" + std::string(*std::prev(end_tags.end())) +
         "'");
  }
  leave();
  if (failed()) return {};
  return body;
}

Body Parser::parse_tag_body(std::initializer_list<std::string_view> end_tags) {
  skip_symbol(":");
  expect(TokenKind::block_end);
  return parse_body(end_tags);
}

void Parser::parse_statement(Body* body) {
  struct Row {
    std::string_view tag;
    Statement (Parser::*parse)();
  };
  constexpr Row kRows[] = {
      {"if", &Parser::parse_branch},       {"for", &Parser::parse_loop},
      {"set", &Parser::parse_assign},      {"macro", &Parser::parse_macro},
      {"call", &Parser::parse_call_block}, {"filter", &Parser::parse_filter_block},
      {"with", &Parser::parse_with},       {"generation", &Parser::parse_generation},
  };
  if (token().kind != TokenKind::name) {
    fail("tag name expected");
    return;
  }
  const Token tag = token();
  skip();
  if (tag.text == "print") return parse_print(body);
  if (tag.text == "break") return body->push_back(parse_loop_control(StatementKind::stop_loop));
  if (tag.text == "continue") return body->push_back(parse_loop_control(StatementKind::next_item));
  for (const Row& row : kRows) {
    if (row.tag != tag.text) continue;
    Statement statement = (this->*row.parse)();
    statement.line = tag.line;
    return body->push_back(std::move(statement));
  }
  if (tag.text.substr(0, 3) == "end" || tag.text == "else" || tag.text == "elif") {
    return fail("unexpected tag '" + std::string(tag.text) + "'");
  }
  fail_unsupported("unknown tag '" + std::string(tag.text) + "'");
}

Statement Parser::parse_branch() {
  Statement branch{StatementKind::branch};
  while (!failed()) {
    branch.expressions.push_back(parse_tuple(TupleUse::value_without_condition));
    branch.bodies.push_back(parse_tag_body({"elif", "else", "endif"}));
    if (skip_name("elif")) continue;
    if (skip_name("else")) {
      branch.bodies.push_back(parse_tag_body({"endif"}));
    }
    skip();
    break;
  }
  return branch;
}

Statement Parser::parse_loop() {
  Statement loop{StatementKind::loop};
  loop.targets.push_back(parse_target_tuple("in"));
  if (!skip_name("in")) fail("expected 'in' in a for loop");
  loop.expressions.push_back(parse_tuple(TupleUse::value_without_condition));
  if (skip_name("if")) loop.expressions.push_back(parse_expression());
  loop.is_recursive = skip_name("recursive");
  ++loop_depth_;
  loop.bodies.push_back(parse_tag_body({"endfor", "else"}));
  --loop_depth_;
  if (skip_name("else")) loop.bodies.push_back(parse_tag_body({"endfor"}));
  skip();
  return loop;
}

Statement Parser::parse_assign() {
  Statement assign{StatementKind::assign};
  if (look().kind == TokenKind::symbol && look().text == ".") {
    Target target;
    target.name = parse_target_name();
    expect_symbol(".");
    target.attribute = expect_name();
    assign.targets.push_back(std::move(target));
  } else {
    assign.targets.push_back(parse_target_tuple(""));
  }
  if (skip_symbol("=")) {
    assign.expressions.push_back(parse_tuple(TupleUse::value));
    return assign;
  }
  assign.kind = StatementKind::assign_block;
  if (at_symbol("|")) assign.expressions.push_back(parse_filter_chain(false));
  assign.bodies.push_back(parse_tag_body({"endset"}));
  skip();
  return assign;
}

void Parser::parse_parameters(MacroDefinition* macro) {
  expect_symbol("(");
  bool has_default = false;
  while (!failed() && !at_symbol(")")) {
    if (!macro->parameters.empty()) expect_symbol(",");
    Parameter parameter{parse_target_name(), nullptr};
    if (skip_symbol("=")) {
      parameter.default_value = parse_expression();
      has_default = true;
    } else if (has_default) {
      fail("non-default argument follows default argument");
    }
    macro->parameters.push_back(std::move(parameter));
  }
  expect_symbol(")");
}

void Parser::parse_macro_body(MacroDefinition* macro, std::string_view end_tag) {
  open_macros_.push_back(macro);
  const int outer_loops = std::exchange(loop_depth_, 0);
  macro->body = parse_tag_body({end_tag});
  loop_depth_ = outer_loops;
  open_macros_.pop_back();
  for (const Parameter& parameter : macro->parameters) {
    if (result_.names[static_cast<std::size_t>(parameter.name)] == "caller") {
      macro->uses_caller = false;
    }
  }
  skip();
}

Statement Parser::parse_macro() {
  auto macro = std::make_unique<MacroDefinition>();
  macro->title = std::string(token().text);
  macro->name = parse_target_name();
  parse_parameters(macro.get());
  parse_macro_body(macro.get(), "endmacro");
  Statement statement{StatementKind::macro};
  statement.macro = std::move(macro);
  return statement;
}

Statement Parser::parse_call_block() {
  auto macro = std::make_unique<MacroDefinition>();
  macro->title = "caller";
  if (at_symbol("(")) parse_parameters(macro.get());
  Statement statement{StatementKind::call_block};
  statement.expressions.push_back(parse_expression());
  const Expression* call = statement.expressions.back().get();
  if (call == nullptr || call->suffixes.empty() || call->suffixes.back().kind != SuffixKind::call) {
    fail("expected call");
    return statement;
  }
  parse_macro_body(macro.get(), "endcall");
  statement.macro = std::move(macro);
  return statement;
}

Statement Parser::parse_filter_block() {
  Statement statement{StatementKind::filter_block};
  statement.expressions.push_back(parse_filter_chain(true));
  statement.bodies.push_back(parse_tag_body({"endfilter"}));
  skip();
  return statement;
}

Statement Parser::parse_with() {
  Statement statement{StatementKind::scope};
  while (!failed() && token().kind != TokenKind::block_end) {
    if (!statement.targets.empty()) expect_symbol(",");
    statement.targets.push_back(parse_target());
    expect_symbol("=");
    statement.expressions.push_back(parse_expression());
  }
  statement.bodies.push_back(parse_tag_body({"endwith"}));
  skip();
  return statement;
}

Statement Parser::parse_generation() {
  Statement statement{StatementKind::scope};
  statement.bodies.push_back(parse_tag_body({"endgeneration"}));
  skip();
  return statement;
}

Statement Parser::parse_loop_control(StatementKind kind) {
  if (loop_depth_ == 0) fail("'break' or 'continue' outside a loop");
  return Statement(kind);
}

void Parser::parse_print(Body* body) {
  bool is_first = true;
  while (!failed() && token().kind != TokenKind::block_end) {
    if (!is_first) expect_symbol(",");
    is_first = false;
    Statement output{StatementKind::output, token().line};
    output.expressions.push_back(parse_expression());
    body->push_back(std::move(output));
  }
}

Symbol Parser::parse_target_name() {
  constexpr std::string_view kConstants[] = {"true", "false", "none", "True", "False", "None"};
  const std::string name = expect_name();
  if (std::find(std::begin(kConstants), std::end(kConstants), name) != std::end(kConstants)) {
    fail("can't assign to '" + name + "'");
  }
  return symbol(name);
}

Target Parser::parse_target() {
  Target target;
  if (!enter()) return target;
  if (skip_symbol("(")) {
    target = parse_target_tuple("");
    expect_symbol(")");
  } else {
    target.name = parse_target_name();
  }
  leave();
  return target;
}

/// One target, or several with commas between them, up to the name `end_name` or what ends a tuple.
Target Parser::parse_target_tuple(std::string_view end_name) {
  Target first = parse_target();
  if (!at_symbol(",")) return first;
  Target tuple;
  tuple.parts.push_back(std::move(first));
  while (!failed() && skip_symbol(",")) {
    if (at_tuple_end() || at_symbol("=") || (!end_name.empty() && at_name(end_name))) break;
    tuple.parts.push_back(parse_target());
  }
  return tuple;
}

}  // namespace runnel::jinja
