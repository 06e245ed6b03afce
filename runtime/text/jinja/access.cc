// Operators: reaching into values. Items, attributes, slices, iteration, length.
#include <algorithm>
#include <limits>

#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/methods.h"
#include "runtime/text/jinja/objects.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/print.h"

namespace runnel::jinja {
namespace {

/// Message of an undefined item or attribute. SOURCE: Jinja's Undefined.
Value missing(Context* context, const Value& value, const Value& name) {
  const std::string type = value.is_none() ? "None" : std::string(type_name(value)) + " object";
  if (name.is_text()) {
    return context->undefined(in_quotes(type) + " has no attribute " + quote(name.text().bytes));
  }
  return context->undefined(type + " has no element " + to_repr(context, name));
}

bool can_index(const Value& value) {
  return value.is_text() || value.is_list(ListKind::list) || value.is_list(ListKind::tuple) ||
         value.is_list(ListKind::range);
}

std::int64_t size_of(const Value& sequence) {
  return static_cast<std::int64_t>(sequence.is_text() ? sequence.text().length
                                                      : sequence.list().items.size());
}

/// The character with this index. REQUIRES: it exists.
Value character_value(Context* context, const Text& text, std::size_t index) {
  if (text.is_ascii()) return context->text(std::string(1, text.bytes[index]));
  if (!context->work_bytes(4 * index)) return {};
  const std::size_t at = offset_of(text.bytes, index);
  return context->text(text.bytes.substr(at, character_at(text.bytes, at).bytes));
}

/// The item at `index`, from the end when negative; false when there is none.
bool find_index(Context* context, const Value& value, const Value& index, Value* out) {
  if (!can_index(value) || !index.is_integral()) return false;
  const std::int64_t size = size_of(value);
  std::int64_t at = index.integer();
  if (at < 0) at += size;
  if (at < 0 || at >= size) return false;
  const auto place = static_cast<std::size_t>(at);
  *out =
      value.is_text() ? character_value(context, value.text(), place) : value.list().items[place];
  return true;
}

bool find_item(Context* context, const Value& value, const Value& index, Value* out) {
  if (!value.is_dict()) return find_index(context, value, index, out);
  const Value* found = is_hashable(index) ? value.dict().find(index) : nullptr;
  if (found != nullptr) *out = *found;
  return found != nullptr;
}

Value unsafe_attribute(Context* context, const Value& value, std::string_view name) {
  return context->undefined("access to attribute " + quote(name) + " of " +
                            in_quotes(type_name(value)) + " object is unsafe.");
}

struct SliceRange {
  std::int64_t start = 0;
  std::int64_t step = 1;
  std::int64_t count = 0;
};

/// One end of a slice, moved into the range that Python allows for it.
std::int64_t slice_end(const Value& given, std::int64_t size, bool is_backward, bool is_start) {
  const std::int64_t lowest = is_backward ? -1 : 0;
  const std::int64_t highest = is_backward ? size - 1 : size;
  if (given.is_none()) return is_backward == is_start ? highest : lowest;
  std::int64_t at = given.integer();
  if (at < 0) at += size;
  return std::clamp(at, lowest, highest);
}

bool resolve_slice(Context* context,
                   const Value& start,
                   const Value& stop,
                   const Value& step,
                   std::int64_t size,
                   SliceRange* out) {
  for (const Value* part : {&start, &stop, &step}) {
    if (part->is_none() || part->is_integral()) continue;
    context->fail("slice indices must be integers or None or have an __index__ method");
    return false;
  }
  out->step = step.is_none() ? 1 : step.integer();
  if (out->step == 0) {
    context->fail("slice step cannot be zero");
    return false;
  }
  out->step = std::max(out->step, -std::numeric_limits<std::int64_t>::max());
  const bool is_backward = out->step < 0;
  out->start = slice_end(start, size, is_backward, true);
  const std::int64_t end = slice_end(stop, size, is_backward, false);
  const std::int64_t distance = is_backward ? out->start - end : end - out->start;
  const std::int64_t stride = is_backward ? -out->step : out->step;
  out->count = distance > 0 ? (distance - 1) / stride + 1 : 0;
  return true;
}

std::string slice_text(const Text& text, const SliceRange& range) {
  std::string out;
  if (range.count == 0) return out;
  if (range.step == 1) {
    const auto first = static_cast<std::size_t>(range.start);
    const auto count = static_cast<std::size_t>(range.count);
    if (text.is_ascii()) return text.bytes.substr(first, count);
    const std::string_view tail = std::string_view(text.bytes).substr(offset_of(text.bytes, first));
    return std::string(tail.substr(0, offset_of(tail, count)));
  }
  std::vector<std::size_t> offsets;  // of every character, and the end
  offsets.reserve(text.length + 1);
  for (std::size_t at = 0; at < text.bytes.size(); at += character_at(text.bytes, at).bytes) {
    offsets.push_back(at);
  }
  offsets.push_back(text.bytes.size());
  for (std::int64_t i = 0; i < range.count; ++i) {
    const auto at = static_cast<std::size_t>(range.start + i * range.step);
    out.append(text.bytes, offsets[at], offsets[at + 1] - offsets[at]);
  }
  return out;
}

}  // namespace

Value slice(Context* context,
            const Value& value,
            const Value& start,
            const Value& stop,
            const Value& step) {
  if (context->failed() || !reject_undefined(context, value)) return {};
  if (value.is_dict()) return context->fail("unhashable type: 'slice'");
  if (!can_index(value)) {
    return context->fail(in_quotes(type_name(value)) + " object is not subscriptable");
  }
  SliceRange range;
  if (!resolve_slice(context, start, stop, step, size_of(value), &range)) return {};
  if (value.is_text()) {
    const std::size_t bytes = value.text().bytes.size();
    const std::size_t scratch = range.step == 1 ? bytes : bytes * (1 + sizeof(std::size_t));
    if (!context->work_bytes(bytes) || !context->fits(scratch)) return {};
    return context->text(slice_text(value.text(), range));
  }
  const auto count = static_cast<std::size_t>(range.count);
  if (!context->fits(count, sizeof(Value))) return {};
  std::vector<Value> items;
  items.reserve(count);
  for (std::int64_t i = 0; i < range.count; ++i) {
    items.push_back(value.list().items[static_cast<std::size_t>(range.start + i * range.step)]);
  }
  const bool is_tuple = value.is_list(ListKind::tuple);
  return context->list(std::move(items), is_tuple ? ListKind::tuple : ListKind::list);
}

bool find_attribute(Context* context, const Value& value, std::string_view name, Value* out) {
  if (value.kind() == Kind::object && find_object_attribute(context, value, name, out)) return true;
  if (value.is_list() && value.list().label == kGroup && (name == "grouper" || name == "list")) {
    *out = value.list().items[name == "grouper" ? 0 : 1];
    return true;
  }
  const std::string_view method = find_method(value, name);
  if (method.empty()) {
    if (name.substr(0, 2) != "__") return false;
    *out = unsafe_attribute(context, value, name);
    return true;
  }
  if (is_mutating_method(value, name)) {
    *out = unsafe_attribute(context, value, name);
    return true;
  }
  *out = context->object(std::make_shared<Method>(value, method), value.height() + 1);
  return true;
}

Value get_item(Context* context, const Value& value, const Value& index) {
  if (context->failed() || !reject_undefined(context, value)) return {};
  Value out;
  if (find_item(context, value, index, &out)) return out;
  if (index.is_text() && find_attribute(context, value, index.text().bytes, &out)) return out;
  return missing(context, value, index);
}

Value get_attribute(Context* context, const Value& value, std::string_view name) {
  if (context->failed() || !reject_undefined(context, value)) return {};
  Value out;
  if (find_attribute(context, value, name, &out)) return out;
  if (value.is_dict()) {
    if (const Value* found = value.dict().find(name)) return *found;
  }
  return missing(context, value, constant_text(std::string(name)));
}

Value iterate(Context* context, const Value& value) {
  if (context->failed()) return {};
  std::vector<Value> items;
  switch (value.kind()) {
    case Kind::undefined:
      break;
    case Kind::list:
      if (!value.is_list(ListKind::generator)) return value;
      if (value.list().is_spent) break;
      value.list().is_spent = true;
      return value;
    case Kind::dict:
      if (!context->fits(value.dict().items.size(), sizeof(Value))) return {};
      items.reserve(value.dict().items.size());
      for (const auto& [key, unused] : value.dict().items) items.push_back(key);
      break;
    case Kind::text: {
      const std::string& bytes = value.text().bytes;
      if (!context->fits(value.text().length, sizeof(Value) + sizeof(Text))) return {};
      for (std::size_t at = 0; at < bytes.size() && !context->failed();) {
        const std::size_t size = character_at(bytes, at).bytes;
        items.push_back(context->text(bytes.substr(at, size)));
        at += size;
      }
      break;
    }
    default:
      return context->fail(in_quotes(type_name(value)) + " object is not iterable");
  }
  return context->list(std::move(items));
}

bool length_of(Context* context, const Value& value, std::int64_t* length) {
  if (context->failed()) return false;
  *length = 0;
  if (value.is_undefined()) return true;
  if (value.is_text()) {
    *length = static_cast<std::int64_t>(value.text().length);
  } else if (value.is_list() && !value.is_list(ListKind::generator)) {
    *length = static_cast<std::int64_t>(value.list().items.size());
  } else if (value.is_dict()) {
    *length = static_cast<std::int64_t>(value.dict().items.size());
  } else if (value.is_object(ObjectKind::loop)) {
    *length = static_cast<std::int64_t>(static_cast<const Loop&>(value.object()).length);
  } else {
    context->fail("object of type " + in_quotes(type_name(value)) + " has no len()");
    return false;
  }
  return true;
}

}  // namespace runnel::jinja
