// Errors as values: Status and Result<T>, and check() for programmer errors. No exceptions.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace runnel {

enum class Code : std::uint8_t {
  ok,
  invalid_argument,  // the caller asked for something impossible
  not_found,         // no such file, key, tensor, device
  corrupt,           // a file or text breaks its format
  unsupported,       // valid, but nothing here can do it
  out_of_memory,
  device_lost,
  io,  // the operating system refused
  cancelled,
  context_full,
  internal,
};

/// What went wrong and where. Empty message <=> ok.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}
  bool ok() const { return code_ == Code::ok; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }
  /// Adds the caller's context in front: "loading lfm2.gguf: tensor 14: bad offset".
  Status with_context(std::string_view what) && {
    if (!ok()) message_.insert(0, std::string(what) + ": ");
    return std::move(*this);
  }

 private:
  Code code_ = Code::ok;
  std::string message_;
};

/// Programmer error: prints the condition's place and aborts. Never used on data from outside.
void check(bool condition,
           std::string_view what,
           const char* file = __builtin_FILE(),
           int line = __builtin_LINE());

/// A value or the Status that explains its absence.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}        // NOLINT: implicit
  Result(Status status) : state_(std::in_place_index<1>, std::move(status)) {  // NOLINT: implicit
    check(!std::get_if<1>(&state_)->ok(), "Result built from an ok Status");
  }
  bool ok() const { return state_.index() == 0; }
  T& operator*() & { return value(); }
  T&& operator*() && { return std::move(value()); }
  const T& operator*() const& { return const_cast<Result*>(this)->value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &const_cast<Result*>(this)->value(); }
  Status status() const { return ok() ? Status{} : *std::get_if<1>(&state_); }

 private:
  T& value() {
    T* held = std::get_if<0>(&state_);
    check(held != nullptr, "Result without a value was dereferenced");
    return *held;
  }
  std::variant<T, Status> state_;
};

}  // namespace runnel

#define RUNNEL_TRY(expr)                                                                 \
  do {                                                                                   \
    if (::runnel::Status status_here_ = (expr); !status_here_.ok()) return status_here_; \
  } while (0)
#define RUNNEL_CONCAT_INNER(a, b) a##b
#define RUNNEL_CONCAT(a, b) RUNNEL_CONCAT_INNER(a, b)
#define RUNNEL_ASSIGN(decl, expr)                                                               \
  auto RUNNEL_CONCAT(result_, __LINE__) = (expr);                                               \
  if (!RUNNEL_CONCAT(result_, __LINE__).ok()) return RUNNEL_CONCAT(result_, __LINE__).status(); \
  decl = *std::move(RUNNEL_CONCAT(result_, __LINE__))
