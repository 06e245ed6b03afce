// The boundary between Status and the C API: nothing that happens inside crosses it but a code and
// a thread-local text. Internal to runtime/api.
#pragma once
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "runtime/api/runnel.h"
#include "runtime/base/status.h"

namespace runnel::api {

/// Remembers the message for runnel_last_error() and returns the C code.
runnel_status report(const Status& status) noexcept;
runnel_status code_of(Code code) noexcept;
/// Text of this thread's last failed call.
const char* last_error() noexcept;

/// Runs `body` (-> Status) and turns its outcome, exceptions included, into a runnel_status.
template <class Body>
runnel_status guarded(Body&& body) noexcept {
  try {
    return report(std::forward<Body>(body)());
  } catch (const std::bad_alloc&) {
    return report(Status(Code::out_of_memory, "out of memory"));
  } catch (const std::exception& error) {
    return report(Status(Code::internal, error.what()));
  } catch (...) {
    return report(Status(Code::internal, "unknown exception"));
  }
}

inline Status missing(const char* argument) {
  return Status(Code::invalid_argument, std::string(argument) + " is NULL");
}

/// malloc'ed copy for strings the caller frees with runnel_free().
Status copy_text(const std::string& text, char** out);

/// What every _init_sized function does: the defaults, as far as the caller's struct reaches, and
/// zeros beyond those that this library knows. NULL is left alone.
template <class T>
void begin(T* out, size_t size, T defaults = {}) {
  if (out == nullptr || size < sizeof out->size) return;
  defaults.size = size;
  __builtin_memset(static_cast<void*>(out), 0, size);
  __builtin_memcpy(static_cast<void*>(out), &defaults, size < sizeof(T) ? size : sizeof(T));
}

/// Copies min(dst->size, sizeof(T)) bytes of `value` over *dst, keeping dst->size: a caller
/// compiled against an older, shorter struct gets the fields it knows.
template <class T>
void copy_out(T value, T* dst) {
  const size_t size = dst->size < sizeof(T) ? dst->size : sizeof(T);
  value.size = dst->size;
  __builtin_memcpy(dst, &value, size);
}

/// The caller's options over the defaults; a shorter (older) struct leaves newer fields at default.
/// ERRORS: invalid_argument when size was never set.
template <class T>
Result<T> copy_in(const T* src, T defaults, const char* what) {
  if (src == nullptr) return defaults;
  if (src->size < sizeof(size_t) || src->size > 4096)
    return Status(Code::invalid_argument,
                  std::string(what) + ": size is not set, call its _init function");
  const size_t size = src->size < sizeof(T) ? src->size : sizeof(T);
  __builtin_memcpy(&defaults, src, size);
  return defaults;
}

}  // namespace runnel::api
