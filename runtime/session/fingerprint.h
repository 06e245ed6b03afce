// A number that tells models apart, for files that only make sense with the model they came from.
#pragma once
#include <cstdint>

#include "runtime/io/gguf.h"

namespace runnel {

/// Changes with whatever changes results: metadata (but for descriptions and the chat template),
/// tensor names, types, shapes, and samples from all over each tensor's data. Reads at most 4 KiB
/// of a tensor, so that a model is not read from disk for it. Not proof against forgery.
std::uint64_t model_fingerprint(const GgufFile& file);

}  // namespace runnel
