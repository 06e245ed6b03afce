// What one render shares: the budget (steps, time, memory), the first error, and the making of
// values. Errors are sticky: an operation that fails calls fail() and returns None; whoever
// evaluates looks at failed() and stops. One per render, used by one thread.
#pragma once
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/text/chat_template.h"
#include "runtime/text/jinja/value.h"

namespace runnel::jinja {

class Context {
 public:
  explicit Context(const TemplateLimits& limits);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const TemplateLimits& limits() const { return limits_; }

  bool failed() const { return !error_.ok(); }
  const Status& error() const { return error_; }
  /// Records an error of the template or its data (invalid_argument). The first one stays.
  Value fail(std::string message);
  /// Records that a limit was passed, or that a feature is missing (unsupported).
  Value fail_unsupported(std::string message);

  /// Counts steps of work and looks at the clock now and then. False, with an error, past a limit.
  bool work(std::size_t steps);
  /// Counts work of an operation that walks over `bytes`. False past a limit.
  bool work_bytes(std::size_t bytes) { return work(1 + bytes / 64); }
  /// True when `bytes` more fit into the memory budget; else records an error.
  bool fits(std::size_t bytes);
  /// fits() for `count` pieces of `bytes` each, without overflow.
  bool fits(std::size_t count, std::size_t bytes);

  /// Counts memory that is held until given back, as text captured from a block. False past the
  /// limit.
  bool take_bytes(std::size_t bytes);
  void give_back_bytes(std::size_t bytes) { used_bytes_ -= bytes; }

  Value text(std::string bytes);
  Value safe_text(std::string bytes);
  Value list(std::vector<Value> items, ListKind kind = ListKind::list, std::string label = {});
  /// Later entries replace earlier ones of the same key, as in Python. Fails on unhashable keys.
  Value dict(std::vector<Dict::Entry> entries);
  Value undefined(std::string message);
  /// An object that lives until the end of the render: the kinds that could form cycles.
  Value keep(std::shared_ptr<Object> object, std::size_t bytes);
  /// An object that is freed with its last user.
  Value object(std::shared_ptr<Object> object, int height);

 private:
  Value make_text(std::string bytes, bool is_safe);
  bool height_fits(int height);

  TemplateLimits limits_;
  std::chrono::steady_clock::time_point deadline_;
  std::size_t steps_ = 0;
  std::size_t next_clock_ = 0;
  std::size_t used_bytes_ = 0;
  Status error_;
  std::vector<std::shared_ptr<Object>> kept_;
};

/// Appends to a string while it stays within the memory budget of a context.
class TextBuilder {
 public:
  explicit TextBuilder(Context* context) : context_(context) {}
  bool append(std::string_view piece);
  bool append_repeated(std::size_t count, std::string_view piece);
  std::string take() { return std::move(text_); }
  std::size_t size() const { return text_.size(); }

  int namespace_level = 0;  // of the value being printed

 private:
  Context* context_;
  std::string text_;
};

/// A constant of the source text, outside any budget.
Value constant_text(std::string bytes);

}  // namespace runnel::jinja
