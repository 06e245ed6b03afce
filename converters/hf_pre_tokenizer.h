// The "pre_tokenizer" and "normalizer" parts of tokenizer.json. Pure functions.
#pragma once
#include <string_view>

#include "converters/hf_tokenizer.h"
#include "converters/json.h"
#include "runtime/base/status.h"

namespace runnel::converters {

/// Sets pre, pattern and add_space_prefix from the steps of "pre_tokenizer".
/// ERRORS: corrupt, unsupported (no byte level, several patterns, unknown steps).
Status read_pre_tokenizer(const Fields& root, std::string_view llama3_pre, HfTokenizer* out);

/// Sets nfc. ERRORS: corrupt, unsupported (any other normalizer).
Status read_normalizer(const Fields& root, HfTokenizer* out);

}  // namespace runnel::converters
