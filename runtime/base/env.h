// The only place that reads environment variables.
#pragma once
#include <optional>
#include <string>

namespace runnel {

/// Value of an environment variable, or nothing when unset or empty.
std::optional<std::string> env(const char* name);

}  // namespace runnel
