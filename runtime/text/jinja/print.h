// Text forms of values, as Python writes them: str(), repr() and json.dumps().
#pragma once
#include <string>
#include <string_view>

#include "runtime/text/jinja/context.h"
#include "runtime/text/jinja/value.h"

namespace runnel::jinja {

/// Shortest text that reads back as the same number: "1.0", "1e+16", "0.1", "inf", "nan".
std::string real_text(double value);
/// Python's repr of a string, quotes included.
std::string quote(std::string_view text);
/// "'x'" for names in messages.
std::string in_quotes(std::string_view name);

/// Appends str(value). False after an error.
bool append_text(Context* context, const Value& value, TextBuilder* out);
/// Appends repr(value). False after an error.
bool append_repr(Context* context, const Value& value, TextBuilder* out);
/// str(value) as a string; empty after an error.
std::string to_text(Context* context, const Value& value);
std::string to_repr(Context* context, const Value& value);

struct JsonStyle {
  bool is_indented = false;
  std::string indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool ascii_only = false;
  bool sort_keys = false;
};

/// json.dumps(value); fails on values that JSON cannot hold.
Value to_json(Context* context, const Value& value, const JsonStyle& style);

}  // namespace runnel::jinja
