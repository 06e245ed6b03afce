#include "runtime/api/error.h"

#include <cstdlib>
#include <cstring>

namespace runnel::api {
namespace {

std::string& slot() {
  static thread_local std::string text;
  return text;
}

}  // namespace

runnel_status code_of(Code code) noexcept {
  switch (code) {
    case Code::ok:
      return RUNNEL_OK;
    case Code::invalid_argument:
      return RUNNEL_ERROR_INVALID_ARGUMENT;
    case Code::not_found:
      return RUNNEL_ERROR_NOT_FOUND;
    case Code::corrupt:
      return RUNNEL_ERROR_CORRUPT;
    case Code::unsupported:
      return RUNNEL_ERROR_UNSUPPORTED;
    case Code::out_of_memory:
      return RUNNEL_ERROR_OUT_OF_MEMORY;
    case Code::device_lost:
      return RUNNEL_ERROR_DEVICE;
    case Code::io:
      return RUNNEL_ERROR_IO;
    case Code::cancelled:
      return RUNNEL_ERROR_CANCELLED;
    case Code::context_full:
      return RUNNEL_ERROR_CONTEXT_FULL;
    case Code::internal:
      break;
  }
  return RUNNEL_ERROR_INTERNAL;
}

runnel_status report(const Status& status) noexcept {
  try {
    slot() = status.message();
  } catch (...) {  // no memory for the text: the code still tells
    slot().clear();
  }
  return code_of(status.code());
}

const char* last_error() noexcept {
  return slot().c_str();
}

Status copy_text(const std::string& text, char** out) {
  auto* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy == nullptr) return Status(Code::out_of_memory, "out of memory for a text");
  std::memcpy(copy, text.c_str(), text.size() + 1);
  *out = copy;
  return {};
}

}  // namespace runnel::api
