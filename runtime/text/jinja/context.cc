#include "runtime/text/jinja/context.h"

#include <algorithm>
#include <utility>

#include "runtime/base/checked.h"
#include "runtime/text/jinja/characters.h"

namespace runnel::jinja {
namespace {

constexpr std::size_t kStepsPerClock = 1024;

std::shared_ptr<const Text> build_text(std::string bytes, bool is_safe, std::size_t* used) {
  const std::size_t length = count_characters(bytes);
  const std::size_t cost = sizeof(Text) + bytes.capacity();
  return std::make_shared<Text>(std::move(bytes), length, is_safe, used, cost);
}

}  // namespace

Context::Context(const TemplateLimits& limits)
    : limits_(limits), deadline_(std::chrono::steady_clock::now() + limits.time) {}

Context::~Context() {
  // Namespaces and macros can refer to each other. Emptied one by one while all are still held
  // here, they come apart without deep recursion.
  for (const auto& object : kept_) object->clear();
}

Value Context::fail(std::string message) {
  if (error_.ok()) error_ = Status(Code::invalid_argument, std::move(message));
  return {};
}

Value Context::fail_unsupported(std::string message) {
  if (error_.ok()) error_ = Status(Code::unsupported, std::move(message));
  return {};
}

bool Context::work(std::size_t steps) {
  if (failed()) return false;
  steps_ += std::min(steps, limits_.steps + 1);
  if (steps_ > limits_.steps) {
    fail_unsupported("the template takes more than " + std::to_string(limits_.steps) + " steps");
    return false;
  }
  if (steps_ < next_clock_) return true;
  next_clock_ = steps_ + kStepsPerClock;
  if (std::chrono::steady_clock::now() <= deadline_) return true;
  fail_unsupported("the template takes more than " + std::to_string(limits_.time.count()) + " ms");
  return false;
}

bool Context::fits(std::size_t bytes) {
  if (failed()) return false;
  if (bytes <= limits_.value_bytes && used_bytes_ <= limits_.value_bytes - bytes) return true;
  fail_unsupported("the template needs more than " + std::to_string(limits_.value_bytes) +
                   " bytes of memory");
  return false;
}

bool Context::fits(std::size_t count, std::size_t bytes) {
  std::uint64_t total = 0;
  if (!checked_mul(count, bytes, &total)) total = limits_.value_bytes + 1;
  return fits(static_cast<std::size_t>(total));
}

bool Context::take_bytes(std::size_t bytes) {
  if (!fits(bytes)) return false;
  used_bytes_ += bytes;
  return true;
}

bool Context::height_fits(int height) {
  if (height <= limits_.depth) return true;
  fail_unsupported("a value is nested deeper than " + std::to_string(limits_.depth));
  return false;
}

Value Context::make_text(std::string bytes, bool is_safe) {
  if (!work_bytes(bytes.size()) || !fits(sizeof(Text) + bytes.capacity())) return {};
  return Value(build_text(std::move(bytes), is_safe, &used_bytes_));
}

Value Context::text(std::string bytes) {
  return make_text(std::move(bytes), false);
}

Value Context::safe_text(std::string bytes) {
  return make_text(std::move(bytes), true);
}

Value Context::list(std::vector<Value> items, ListKind kind, std::string label) {
  int height = 0;
  for (const Value& item : items) height = std::max(height, item.height());
  const std::size_t cost = sizeof(List) + items.capacity() * sizeof(Value) + label.size();
  if (!work(1 + items.size() / 8) || !fits(cost) || !height_fits(height + 1)) return {};
  auto list = std::make_shared<List>(std::move(items), kind, height + 1, &used_bytes_, cost);
  list->label = std::move(label);
  return Value(std::shared_ptr<const List>(std::move(list)));
}

Value Context::dict(std::vector<Dict::Entry> entries) {
  int height = 0;
  for (const auto& [key, value] : entries) {
    if (!is_hashable(key)) return fail("unhashable type: '" + std::string(type_name(key)) + "'");
    height = std::max({height, key.height(), value.height()});
  }
  const std::size_t entry_bytes = sizeof(Dict::Entry) + sizeof(std::uint32_t);
  const std::size_t cost = sizeof(Dict) + entries.capacity() * entry_bytes;
  if (!work(1 + entries.size()) || !fits(cost) || !height_fits(height + 1)) return {};

  const auto sorted = [](const std::vector<Dict::Entry>& items) {
    std::vector<std::uint32_t> order(items.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::uint32_t>(i);
    std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
      return compare_keys(items[a].first, items[b].first) < 0;
    });
    return order;
  };
  std::vector<std::uint32_t> order = sorted(entries);
  // Equal keys: the first key and place stay, with the last value.
  std::vector<bool> is_dropped(entries.size());
  bool has_equal = false;
  for (std::size_t i = 1, first = 0; i < order.size(); ++i) {
    if (compare_keys(entries[order[first]].first, entries[order[i]].first) != 0) {
      first = i;
      continue;
    }
    entries[order[first]].second = entries[order[i]].second;
    is_dropped[order[i]] = has_equal = true;
  }
  if (has_equal) {
    std::vector<Dict::Entry> kept;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (!is_dropped[i]) kept.push_back(std::move(entries[i]));
    }
    entries = std::move(kept);
    order = sorted(entries);
  }
  return Value(std::make_shared<const Dict>(std::move(entries), std::move(order), height + 1,
                                            &used_bytes_, cost));
}

Value Context::undefined(std::string message) {
  if (!fits(message.size())) return {};
  return Value(std::make_shared<const Undefined>(Undefined{std::move(message)}));
}

Value Context::keep(std::shared_ptr<Object> object, std::size_t bytes) {
  if (!fits(bytes)) return {};
  used_bytes_ += bytes;
  kept_.push_back(object);
  return Value(std::move(object));
}

Value Context::object(std::shared_ptr<Object> object, int height) {
  object->height = height;
  if (!height_fits(height)) return {};
  return Value(std::move(object));
}

bool TextBuilder::append(std::string_view piece) {
  if (!context_->work_bytes(piece.size()) || !context_->fits(text_.size(), 2) ||
      !context_->fits(text_.size() + piece.size())) {
    return false;
  }
  text_.append(piece);
  return true;
}

bool TextBuilder::append_repeated(std::size_t count, std::string_view piece) {
  if (!context_->fits(count, piece.size())) return false;
  std::string joined;
  for (std::size_t i = 0; i < count && !piece.empty(); ++i) joined += piece;
  return append(joined);
}

Value constant_text(std::string bytes) {
  return Value(build_text(std::move(bytes), false, nullptr));
}

}  // namespace runnel::jinja
