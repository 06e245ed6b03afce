// Configuration readers of the LFM2 family. Pure functions.
#pragma once
#include "runtime/models/arch.h"

namespace runnel {

/// general.architecture "lfm2".
Result<ModelConfig> read_lfm2_config(const GgufFile& file);
/// general.architecture "lfm2moe".
Result<ModelConfig> read_lfm2moe_config(const GgufFile& file);

}  // namespace runnel
