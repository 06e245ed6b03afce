// Filters that order and group: sort, dictsort, groupby, unique, min, max.
#include <algorithm>
#include <set>

#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/print.h"

namespace runnel::jinja {
namespace {

struct Keyed {
  Value key;
  Value item;
};

/// What an item is ordered by. `paths` may name several attributes, with commas between them: then
/// the key is a list.
Value key_of(Context* context, const Value& item, const Value& paths, bool ignores_case) {
  const auto part = [&](const Value& path) {
    const Value found = follow_path(context, item, path);
    return ignores_case ? without_case(context, found) : found;
  };
  if (!paths.is_text() || paths.text().bytes.find(',') == std::string::npos) return part(paths);
  std::vector<Value> keys;
  std::string_view rest = paths.text().bytes;
  while (!context->failed()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    keys.push_back(part(context->text(std::string(rest.substr(0, comma)))));
    if (comma == rest.size()) break;
    rest.remove_prefix(comma + 1);
  }
  return context->list(std::move(keys));
}

/// How keys are compared: with < alone, or as the only items of lists, which looks at == first, so
/// that equal keys need no order.
enum class Keys : std::uint8_t { plain, in_lists };

/// Sorts without changing the order of equal items. False after an error.
bool stable_sort(Context* context, std::vector<Keyed>* items, bool is_reversed, Keys keys) {
  if (!context->fits(items->size(), sizeof(Keyed))) return false;
  // A comparison that fails answers false; the merge sort stays within bounds all the same.
  std::stable_sort(items->begin(), items->end(), [&](const Keyed& a, const Keyed& b) {
    if (keys == Keys::in_lists && equal(context, a.key, b.key)) return false;
    return is_reversed ? less(context, b.key, a.key) : less(context, a.key, b.key);
  });
  return !context->failed();
}

Value items_of(Context* context, std::vector<Keyed> sorted) {
  std::vector<Value> items;
  items.reserve(sorted.size());
  for (Keyed& entry : sorted) items.push_back(std::move(entry.item));
  return context->list(std::move(items));
}

/// The items of a value with their keys; empty after an error.
std::vector<Keyed> keyed_items(Context* context,
                               const Value& value,
                               const Value& paths,
                               bool ignores_case) {
  std::vector<Keyed> keyed;
  const Value items = iterate(context, value);
  if (context->failed() || !context->fits(items.list().items.size(), sizeof(Keyed))) return keyed;
  for (const Value& item : items.list().items) {
    keyed.push_back({key_of(context, item, paths, ignores_case), item});
    if (context->failed()) return {};
  }
  return keyed;
}

Value sort(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "sort", arguments, {"reverse", "case_sensitive", "attribute"}, 0, &bound)) {
    return {};
  }
  const bool ignores_case = !is_true(bound.values[1]);
  std::vector<Keyed> items = keyed_items(context, value, bound.values[2], ignores_case);
  if (context->failed() || !stable_sort(context, &items, is_true(bound.values[0]), Keys::in_lists))
    return {};
  return items_of(context, std::move(items));
}

Value dictsort(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "dictsort", arguments, {"case_sensitive", "by", "reverse"}, 0, &bound)) {
    return {};
  }
  if (!reject_undefined(context, value)) return {};
  if (!value.is_dict()) {
    return context->fail(in_quotes(std::string(type_name(value)) + " object") +
                         " has no attribute 'items'");
  }
  const std::string by = bound.is_given[1] ? to_text(context, bound.values[1]) : "key";
  if (by != "key" && by != "value") {
    return context->fail("You can only sort by either \"key\" or \"value\"");
  }
  std::vector<Keyed> items;
  for (const auto& [key, held] : value.dict().items) {
    const Value& ordered = by == "key" ? key : held;
    items.push_back({is_true(bound.values[0]) ? ordered : without_case(context, ordered),
                     context->list({key, held}, ListKind::tuple)});
    if (context->failed()) return {};
  }
  if (!stable_sort(context, &items, is_true(bound.values[2]), Keys::plain)) return {};
  return items_of(context, std::move(items));
}

Value groupby(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "groupby", arguments, {"attribute", "default", "case_sensitive"}, 1, &bound)) {
    return {};
  }
  const bool ignores_case = !is_true(bound.values[2]);
  std::vector<Keyed> items = keyed_items(context, value, bound.values[0], false);
  for (Keyed& entry : items) {
    if (entry.key.is_undefined() && !bound.values[1].is_none()) entry.key = bound.values[1];
    if (ignores_case) entry.key = without_case(context, entry.key);
  }
  if (context->failed() || !stable_sort(context, &items, false, Keys::plain)) return {};
  std::vector<Value> groups;
  for (std::size_t i = 0; i < items.size();) {
    const Value key = items[i].key;
    const Value path = bound.values[0];
    Value shown = follow_path(context, items[i].item, path);  // with its own case
    if (shown.is_undefined() && !bound.values[1].is_none()) shown = bound.values[1];
    std::vector<Value> members;
    for (; i < items.size() && equal(context, items[i].key, key); ++i) {
      members.push_back(items[i].item);
    }
    const Value group = context->list(std::move(members));
    groups.push_back(context->list({shown, group}, ListKind::tuple, std::string(kGroup)));
    if (context->failed()) return {};
  }
  return context->list(std::move(groups));
}

Value unique(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  if (!bind(context, "unique", arguments, {"case_sensitive", "attribute"}, 0, &bound)) return {};
  const bool ignores_case = !is_true(bound.values[0]);
  const auto before = [](const Value& a, const Value& b) { return compare_keys(a, b) < 0; };
  std::set<Value, decltype(before)> seen(before);
  bool has_undefined = false;
  std::vector<Value> kept;
  const Value items = iterate(context, value);
  if (context->failed() || !context->fits(items.list().items.size(), 4 * sizeof(Value))) return {};
  for (const Value& item : items.list().items) {
    Value key = follow_path(context, item, bound.values[1]);
    if (ignores_case) key = without_case(context, key);
    if (!context->work(1)) return {};
    if (key.is_undefined()) {
      if (!std::exchange(has_undefined, true)) kept.push_back(item);
      continue;
    }
    if (!is_hashable(key)) {
      return context->fail("unhashable type: " + in_quotes(type_name(key)));
    }
    if (seen.insert(key).second) kept.push_back(item);
  }
  return context->list(std::move(kept), ListKind::generator, "<generator object>");
}

template <bool kMax>
Value extreme(Context* context, const Value& value, const Arguments& arguments) {
  Bound bound;
  const std::string_view name = kMax ? "max" : "min";
  if (!bind(context, name, arguments, {"case_sensitive", "attribute"}, 0, &bound)) return {};
  const bool ignores_case = !is_true(bound.values[0]);
  const std::vector<Keyed> items = keyed_items(context, value, bound.values[1], ignores_case);
  if (context->failed()) return {};
  if (items.empty()) return context->undefined("No aggregated item, sequence was empty.");
  const Keyed* best = &items[0];
  for (const Keyed& entry : items) {
    if (&entry == best) continue;
    const bool is_better =
        kMax ? less(context, best->key, entry.key) : less(context, entry.key, best->key);
    if (context->failed()) return {};
    if (is_better) best = &entry;
  }
  return best->item;
}

constexpr FilterRow kRows[] = {
    {"dictsort", dictsort},  {"groupby", groupby}, {"max", extreme<true>},
    {"min", extreme<false>}, {"sort", sort},       {"unique", unique},
};

}  // namespace

std::span<const FilterRow> order_filters() {
  return kRows;
}

}  // namespace runnel::jinja
