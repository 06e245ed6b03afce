#include "runtime/text/jinja/functions.h"

#include <algorithm>

#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/print.h"
#include "runtime/text/jinja/strftime.h"

namespace runnel::jinja {
namespace {

constexpr std::int64_t kMostRangeItems = 100'000;  // SOURCE: Jinja's sandbox, MAX_RANGE

struct FunctionRow {
  std::string_view name;
  FunctionKind function;
};

constexpr FunctionRow kFunctions[] = {
    {"range", FunctionKind::range},
    {"dict", FunctionKind::dict},
    {"namespace", FunctionKind::name_space},
    {"cycler", FunctionKind::cycler},
    {"joiner", FunctionKind::joiner},
    {"lipsum", FunctionKind::lipsum},
    {"raise_exception", FunctionKind::raise_exception},
    {"strftime_now", FunctionKind::strftime_now},
};

Value make_range(Context* context, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "range", arguments, {"start", "stop", "step"}, 1, &bound)) return {};
  std::int64_t ends[3] = {0, 0, 1};
  for (std::size_t i = 0; i < 3; ++i) {
    if (!bound.is_given[i]) continue;
    if (!bound.values[i].is_integral()) {
      return context->fail(in_quotes(type_name(bound.values[i])) +
                           " object cannot be interpreted as an integer");
    }
    ends[i] = bound.values[i].integer();
  }
  if (!bound.is_given[1]) ends[1] = std::exchange(ends[0], 0);
  const auto [start, stop, step] = ends;
  if (step == 0) return context->fail("range() arg 3 must not be zero");
  // Differences and strides as unsigned numbers: they cannot overflow.
  const bool is_empty = step > 0 ? start >= stop : start <= stop;
  const auto low = static_cast<std::uint64_t>(std::min(start, stop));
  const auto high = static_cast<std::uint64_t>(std::max(start, stop));
  const auto stride =
      step > 0 ? static_cast<std::uint64_t>(step) : ~static_cast<std::uint64_t>(step) + 1;
  const std::uint64_t count = is_empty ? 0 : (high - low - 1) / stride + 1;
  if (count > static_cast<std::uint64_t>(kMostRangeItems)) {
    return context->fail("Range too big. The sandbox blocks ranges larger than MAX_RANGE (" +
                         std::to_string(kMostRangeItems) + ").");
  }
  std::vector<Value> items;
  items.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    items.emplace_back(start + static_cast<std::int64_t>(i) * step);
  }
  std::string label = "range(" + std::to_string(start) + ", " + std::to_string(stop);
  label += step == 1 ? ")" : ", " + std::to_string(step) + ")";
  return context->list(std::move(items), ListKind::range, std::move(label));
}

/// The entries of dict(mapping or pairs, key=value ...).
bool collect_entries(Context* context,
                     std::string_view function,
                     const Arguments& arguments,
                     std::vector<Dict::Entry>* entries) {
  if (arguments.positional.size() > 1) {
    context->fail(std::string(function) + " expected at most 1 argument, got " +
                  std::to_string(arguments.positional.size()));
    return false;
  }
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (!reject_undefined(context, source)) return false;
    if (source.is_dict()) {
      *entries = source.dict().items;
    } else {
      const Value pairs = iterate(context, source);
      if (context->failed()) return false;
      for (const Value& pair : pairs.list().items) {
        const Value parts = iterate(context, pair);
        if (context->failed()) return false;
        if (parts.list().items.size() != 2) {
          context->fail("dictionary update sequence element has a length other than 2");
          return false;
        }
        entries->emplace_back(parts.list().items[0], parts.list().items[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) {
    entries->emplace_back(context->text(name), value);
  }
  return !context->failed();
}

Value make_dict(Context* context, const Arguments& arguments) {
  std::vector<Dict::Entry> entries;
  if (!collect_entries(context, "dict", arguments, &entries)) return {};
  return context->dict(std::move(entries));
}

Value make_namespace(Context* context, const Arguments& arguments) {
  std::vector<Dict::Entry> entries;
  if (!collect_entries(context, "namespace", arguments, &entries)) return {};
  auto space = std::make_shared<Namespace>();
  for (auto& [key, value] : entries) {
    if (!context->work(1)) return {};
    if (key.is_text()) space->set(key.text().bytes, value);
  }
  return context->keep(std::move(space), sizeof(Namespace) + 100 * entries.size());
}

Value make_cycler(Context* context, const Arguments& arguments) {
  if (!arguments.named.empty()) return context->fail("cycler() takes no keyword arguments");
  if (arguments.positional.empty()) {
    return context->fail("at least one item has to be provided");
  }
  auto cycler = std::make_shared<Cycler>();
  cycler->items = context->list(arguments.positional, ListKind::tuple);
  if (context->failed()) return {};
  return context->object(cycler, cycler->items.height());
}

Value make_joiner(Context* context, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "joiner", arguments, {"sep"}, 0, &bound)) return {};
  auto joiner = std::make_shared<Joiner>();
  joiner->separator = bound.is_given[0] ? bound.values[0] : context->text(", ");
  return context->object(joiner, joiner->separator.height() + 1);
}

Value raise_exception(Context* context, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "raise_exception", arguments, {"message"}, 1, &bound)) return {};
  std::string message = to_text(context, bound.values[0]);
  return context->fail(message.empty() ? "the template raised an exception" : std::move(message));
}

Value strftime_now(Context* context, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "strftime_now", arguments, {"format"}, 1, &bound)) return {};
  if (!bound.values[0].is_text()) return context->fail("strftime_now() needs a string");
  const std::string& format = bound.values[0].text().bytes;
  if (!context->work_bytes(format.size()) || !context->fits(format.size(), 32)) return {};
  return context->text(format_time(format, local_time_now()));
}

}  // namespace

bool find_function(std::string_view name, Value* out) {
  for (const FunctionRow& row : kFunctions) {
    if (row.name != name) continue;
    *out = Value(std::shared_ptr<Object>(std::make_shared<Function>(row.function, row.name)));
    return true;
  }
  return false;
}

Value call_global_function(Context* context, const Function& function, const Arguments& arguments) {
  switch (function.function) {
    case FunctionKind::range:
      return make_range(context, arguments);
    case FunctionKind::dict:
      return make_dict(context, arguments);
    case FunctionKind::name_space:
      return make_namespace(context, arguments);
    case FunctionKind::cycler:
      return make_cycler(context, arguments);
    case FunctionKind::joiner:
      return make_joiner(context, arguments);
    case FunctionKind::raise_exception:
      return raise_exception(context, arguments);
    case FunctionKind::strftime_now:
      return strftime_now(context, arguments);
    case FunctionKind::lipsum:
      break;
  }
  return context->fail_unsupported("lipsum() is not supported: its text is random");
}

}  // namespace runnel::jinja
