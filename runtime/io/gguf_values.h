// Typed reading of one metadata entry. Pure functions; each error is corrupt and names the key.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/io/gguf.h"

namespace runnel {

// What each accepts is said at the GgufFile getter of the same name.
Result<std::int64_t> gguf_int(const GgufKey& key);
Result<double> gguf_float(const GgufKey& key);
Result<bool> gguf_bool(const GgufKey& key);
Result<std::string_view> gguf_string(const GgufKey& key);
Result<std::vector<std::int64_t>> gguf_ints(const GgufKey& key);
Result<std::vector<double>> gguf_floats(const GgufKey& key);
Result<std::vector<std::string_view>> gguf_strings(const GgufKey& key);

}  // namespace runnel
