// Syntax tree of a template. Chains of operators of one level, of attributes and of filters are
// flat lists, so the tree is never deeper than the nesting of the source, which the parser limits.
// Immutable after parsing.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/text/jinja/value.h"

namespace runnel::jinja {

/// Index into Template::names.
using Symbol = std::int32_t;

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

enum class Operator : std::uint8_t {
  add,
  subtract,
  multiply,
  divide,
  floor_divide,
  modulo,
  power,
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  in,
  not_in
};

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr star;       // *args, or null
  ExpressionPtr star_star;  // **kwargs, or null
};

enum class SuffixKind : std::uint8_t { attribute, item, slice, call, filter, test, not_test };

/// One step applied to the value on its left: .name [index] [a:b:c] (...) |name(...) is name(...)
struct Suffix {
  SuffixKind kind;
  std::int32_t line;
  std::string name;                    // attribute, filter, test
  std::array<ExpressionPtr, 3> index;  // item: one; slice: start, stop, step or null
  CallArguments arguments;             // call, filter, test
};

enum class ExpressionKind : std::uint8_t {
  constant,
  name,
  list,
  tuple,
  dict,         // operands: key, value, key, value ...
  negate,       // one operand
  plus,         // one operand
  logical_not,  // one operand
  arithmetic,   // operands joined from left to right by operators
  compare,      // a < b < c: every neighbour pair, with short circuit
  concatenate,  // ~
  logical_and,
  logical_or,
  condition,  // operands: condition, value, and the else value if there is one
  suffixed    // one operand, then suffixes
};

struct Expression {
  ExpressionKind kind;
  std::int32_t line;
  Symbol name = -1;  // name
  Value constant;    // constant
  std::vector<ExpressionPtr> operands;
  std::vector<Operator> operators;
  std::vector<Suffix> suffixes;
};

/// What a value is assigned to: a name, name.attribute of a namespace, or a tuple of targets.
struct Target {
  Symbol name = -1;           // -1 for a tuple
  std::string attribute;      // empty: the name itself
  std::vector<Target> parts;  // of a tuple
};

struct Statement;
using Body = std::vector<Statement>;

struct Parameter {
  Symbol name;
  ExpressionPtr default_value;  // or null
};

/// A macro, or the body of a call block (then without a name).
struct MacroDefinition {
  Symbol name = -1;
  std::string title;
  std::vector<Parameter> parameters;
  Body body;
  bool uses_varargs = false;
  bool uses_kwargs = false;
  bool uses_caller = false;  // mentioned and not a parameter
};

enum class StatementKind : std::uint8_t {
  text,
  output,        // expressions: the values to print
  branch,        // if: expressions: conditions; bodies: one each, and the else body if there is one
  loop,          // for: expressions: iterable, and the filter if there is one; bodies: body, else
  assign,        // set: targets[0], expressions[0]
  assign_block,  // set ... endset: targets[0], bodies[0], expressions: the filter, if there is one
  macro,
  call_block,    // macro: the body; expressions[0]: the call
  filter_block,  // expressions[0]: the filters; bodies[0]
  scope,         // with, generation: targets and expressions in pairs; bodies[0]
  stop_loop,     // break
  next_item      // continue
};

struct Statement {
  explicit Statement(StatementKind given, std::int32_t at_line = 0) : kind(given), line(at_line) {}

  StatementKind kind;
  bool is_recursive = false;  // of a loop
  std::int32_t line;
  std::string text;
  std::vector<ExpressionPtr> expressions;
  std::vector<Target> targets;
  std::vector<Body> bodies;
  std::unique_ptr<const MacroDefinition> macro;
};

/// Stands for "the text of the block" in the filters of a set or filter block.
inline constexpr Symbol kBlockText = 0;

struct Template {
  std::vector<std::string> names;  // by Symbol; names[kBlockText] is no valid name
  Body body;
};

}  // namespace runnel::jinja
