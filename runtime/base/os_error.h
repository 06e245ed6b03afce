// Turns errno of a failed system call into a Status. Stateless, thread-safe.
#pragma once
#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace runnel {

/// "cannot open model.gguf: Permission denied". ENOENT and ENOTDIR become not_found, ENOMEM
/// out_of_memory, the rest io.
Status os_error(std::string_view action, const std::string& path, int error_number);

}  // namespace runnel
