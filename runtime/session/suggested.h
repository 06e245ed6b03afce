// Sampling values a model file suggests.
#pragma once
#include "runtime/io/gguf.h"
#include "runtime/text/sampler.h"

namespace runnel {

/// Defaults overwritten by the keys runnel.sampling.* that are present. ERRORS: corrupt.
Result<SamplingParams> read_suggested_sampling(const GgufFile& file);

}  // namespace runnel
