// Operators of the template language, with Python's rules and error messages.
// Integers are 64 bits wide: a result that does not fit is the error "integer overflow".
#pragma once
#include <cstdint>

#include "runtime/text/jinja/ast.h"
#include "runtime/text/jinja/context.h"
#include "runtime/text/jinja/value.h"

namespace runnel::jinja {

/// + - * / // % **
Value arithmetic(Context* context, Operator operation, const Value& left, const Value& right);
Value negated(Context* context, const Value& value);
Value plus(Context* context, const Value& value);

/// == != < <= > >= in, not in. False after an error.
bool compare(Context* context, Operator operation, const Value& left, const Value& right);
bool equal(Context* context, const Value& left, const Value& right);
/// left < right, with an error for values that have no order. False after an error.
bool less(Context* context, const Value& left, const Value& right);
bool contains(Context* context, const Value& container, const Value& item);

/// value[start:stop:step]; None means that a part is missing.
Value slice(
    Context* context, const Value& value, const Value& start, const Value& stop, const Value& step);
/// value[index], with the attribute of that name as second choice; undefined when there is none.
Value get_item(Context* context, const Value& value, const Value& index);
/// value.name, with the item of that name as second choice; undefined when there is none.
Value get_attribute(Context* context, const Value& value, std::string_view name);
/// The attribute or method `name` alone; false when the value has none.
bool find_attribute(Context* context, const Value& value, std::string_view name, Value* out);

/// A list of the items a for loop goes through: of lists (the value itself), characters of text,
/// keys of dicts, nothing of undefined. A generator is used up. None, with an error, for values
/// that cannot be walked through.
Value iterate(Context* context, const Value& value);
/// len(value); false, with an error, for values without a length.
bool length_of(Context* context, const Value& value, std::int64_t* length);

/// Fails with the message of an undefined value; for use where Python would raise UndefinedError.
bool reject_undefined(Context* context, const Value& value);

}  // namespace runnel::jinja
