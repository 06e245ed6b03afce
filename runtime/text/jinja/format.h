// String formatting: '%s' % x and '{}'.format(x). A subset of Python's: what is missing is an
// error, never a wrong result.
#pragma once
#include <string_view>

#include "runtime/text/jinja/context.h"
#include "runtime/text/jinja/objects.h"
#include "runtime/text/jinja/value.h"

namespace runnel::jinja {

/// format % arguments: a tuple holds one value per conversion, a dict the values of %(name)s.
/// Conversions: d i u s r a c x X o e E f F g G %; flags - + space 0 #; width and precision, * too.
Value percent_format(Context* context, const Text& format, const Value& arguments);

/// format.format(...): {} {0} {name} {0.attribute} {0[item]}, !r and !s, and the format
/// specification [[fill]align][sign][#][0][width][,][.precision][type] of text and numbers.
Value brace_format(Context* context, const Text& format, const Arguments& arguments);

/// Layout of one formatted field.
struct FieldLayout {
  char fill = ' ';
  char align = '\0';  // < > ^ =, or none given
  char sign = '-';    // - + or space
  bool is_alternate = false;
  bool has_thousands = false;
  std::int64_t width = 0;
  std::int64_t precision = -1;  // -1: none given
  char type = '\0';
};

/// Digits of a number with sign, padded; shared by both formats. False after an error.
bool append_number(Context* context,
                   const Value& value,
                   const FieldLayout& layout,
                   TextBuilder* out);
/// Text cut to the precision and padded.
bool append_padded(Context* context,
                   std::string_view text,
                   const FieldLayout& layout,
                   TextBuilder* out);

}  // namespace runnel::jinja
