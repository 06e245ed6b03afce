// Global functions of templates: range, dict, namespace, cycler, joiner, raise_exception,
// strftime_now.
#pragma once
#include <string_view>

#include "runtime/text/jinja/context.h"
#include "runtime/text/jinja/objects.h"
#include "runtime/text/jinja/value.h"

namespace runnel::jinja {

/// False when there is no such function.
bool find_function(std::string_view name, Value* out);
Value call_global_function(Context* context, const Function& function, const Arguments& arguments);

}  // namespace runnel::jinja
