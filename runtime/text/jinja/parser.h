// Parses template source into a Template. Recursive descent with a depth limit.
#pragma once
#include <cstddef>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/text/chat_template.h"
#include "runtime/text/jinja/ast.h"
#include "runtime/text/jinja/lexer.h"

namespace runnel::jinja {

/// ERRORS: corrupt with the line number for a syntax error; unsupported for an unknown tag, or
/// when the source passes a limit.
Result<Template> parse_template(std::string_view source, const TemplateLimits& limits);

/// The work of one parse_template() call. After an error every method returns an empty result.
class Parser {
 public:
  Parser(std::string_view source, const TemplateLimits& limits);
  Result<Template> parse();

 private:
  enum class TupleUse : std::uint8_t { value, value_without_condition, parenthesized };

  // parser.cc: statements
  Body parse_body(std::initializer_list<std::string_view> end_tags);
  Body parse_tag_body(std::initializer_list<std::string_view> end_tags);
  void parse_statement(Body* body);
  Statement parse_branch();
  Statement parse_loop();
  Statement parse_assign();
  Statement parse_macro();
  Statement parse_call_block();
  Statement parse_filter_block();
  Statement parse_with();
  Statement parse_generation();
  Statement parse_loop_control(StatementKind kind);
  void parse_print(Body* body);
  void parse_parameters(MacroDefinition* macro);
  void parse_macro_body(MacroDefinition* macro, std::string_view end_tag);
  Target parse_target();
  Target parse_target_tuple(std::string_view end_name);
  Symbol parse_target_name();

  // parser_expression.cc
  ExpressionPtr parse_tuple(TupleUse use);
  ExpressionPtr parse_expression();
  ExpressionPtr parse_condition();
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_compare();
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concatenation();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool with_filters);
  ExpressionPtr parse_primary();
  ExpressionPtr parse_name();
  ExpressionPtr parse_number();
  ExpressionPtr parse_strings();
  ExpressionPtr parse_list();
  ExpressionPtr parse_dict();
  void parse_access(std::vector<Suffix>* suffixes);
  void parse_accesses(std::vector<Suffix>* suffixes);
  void parse_filters_and_tests(std::vector<Suffix>* suffixes);
  void parse_filter(std::vector<Suffix>* suffixes);
  void parse_test(std::vector<Suffix>* suffixes);
  void parse_subscript(std::vector<Suffix>* suffixes);
  bool parse_slice(Suffix* suffix);
  CallArguments parse_arguments();
  void parse_argument(CallArguments* arguments);
  ExpressionPtr parse_filter_chain(bool starts_with_name);
  std::string parse_dotted_name();
  bool at_tuple_end() const;
  std::unique_ptr<Expression> make(ExpressionKind kind) const;
  /// `parse` joined by the operators that `next` recognises.
  template <class Next, class Parse>
  ExpressionPtr parse_chain(ExpressionKind kind, Next next, Parse parse);

  // tokens
  const Token& token() const { return current_; }
  void skip();
  const Token& look();
  bool at_symbol(std::string_view text) const;
  bool at_name(std::string_view text) const;
  bool skip_symbol(std::string_view text);
  bool skip_name(std::string_view text);
  void expect_symbol(std::string_view text);
  void expect(TokenKind kind);
  std::string expect_name();
  void fail(std::string message);
  void fail_unsupported(std::string message);
  void fail_unexpected();
  bool failed() const { return !error_.ok(); }
  bool enter();
  void leave() { --depth_; }
  Symbol symbol(std::string_view name);

  Lexer lexer_;
  Token current_;
  Token next_;
  bool has_next_ = false;
  Status error_;
  int depth_ = 0;
  int max_depth_;
  int loop_depth_ = 0;  // break and continue are allowed when > 0
  std::vector<MacroDefinition*> open_macros_;
  Template result_;
  std::map<std::string, Symbol, std::less<>> symbols_;
};

}  // namespace runnel::jinja
