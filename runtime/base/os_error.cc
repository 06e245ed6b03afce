#include "runtime/base/os_error.h"

#include <cerrno>
#include <system_error>

namespace runnel {

Status os_error(std::string_view action, const std::string& path, int error_number) {
  const bool missing = error_number == ENOENT || error_number == ENOTDIR;
  std::string message = "cannot ";
  message += action;
  message += ' ';
  message += path;
  message += ": ";
  message += std::generic_category().message(error_number);
  const Code code = missing                  ? Code::not_found
                    : error_number == ENOMEM ? Code::out_of_memory
                                             : Code::io;
  return {code, std::move(message)};
}

}  // namespace runnel
