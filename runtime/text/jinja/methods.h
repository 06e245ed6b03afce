// Methods of values: 'abc'.upper(), dict.items(), list.index() and the attributes of the engine's
// own objects.
#pragma once
#include <string_view>

#include "runtime/text/jinja/context.h"
#include "runtime/text/jinja/objects.h"
#include "runtime/text/jinja/value.h"

namespace runnel::jinja {

/// The name itself, with static storage, when `value` has such a method; else empty.
std::string_view find_method(const Value& value, std::string_view name);
/// True for methods of Python that change the value: the sandbox refuses them.
bool is_mutating_method(const Value& value, std::string_view name);
/// REQUIRES: `name` comes from find_method().
Value call_method(Context* context,
                  const Value& self,
                  std::string_view name,
                  const Arguments& arguments);

/// loop.index, namespace values, cycler.current and the like; false when there is none.
bool find_object_attribute(Context* context, const Value& value, std::string_view name, Value* out);

/// find_method() and call_method() of text.
std::string_view find_text_method(std::string_view name);
Value call_text_method(Context* context,
                       const Value& self,
                       std::string_view name,
                       const Arguments& arguments);

}  // namespace runnel::jinja
