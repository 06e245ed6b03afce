// Configuration readers of plain GQA decoders. Pure functions.
#pragma once
#include "runtime/models/arch.h"

namespace runnel {

/// general.architecture "llama".
Result<ModelConfig> read_llama_config(const GgufFile& file);
/// general.architecture "qwen3".
Result<ModelConfig> read_qwen3_config(const GgufFile& file);

}  // namespace runnel
