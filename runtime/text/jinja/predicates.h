// Tests: value is name(arguments).
#pragma once
#include <string_view>

#include "runtime/text/jinja/context.h"
#include "runtime/text/jinja/objects.h"
#include "runtime/text/jinja/value.h"

namespace runnel::jinja {

bool is_predicate(std::string_view name);
/// False after an error, as "No test named ...".
bool call_predicate(Context* context,
                    std::string_view name,
                    const Value& value,
                    const Arguments& arguments);

}  // namespace runnel::jinja
