// LFM2 and LFM2.5, dense (arch lfm2) and mixture of experts (arch lfm2moe).
// SOURCE: Hugging Face transformers configuration_lfm2.py and configuration_lfm2_moe.py; GGUF keys
// as published files carry them.
#include "runtime/models/lfm2.h"

#include "runtime/models/config_reader.h"

namespace runnel {

Result<ModelConfig> read_lfm2_config(const GgufFile& file) {
  ConfigReader reader(file, "lfm2");
  ModelConfig config = read_decoder_config(reader, 1e-5f, 1e6f);
  if (!reader.boolean("attention.causal", true))
    reader.fail(Code::unsupported, "bidirectional LFM2 encoders are not supported");
  if (!reader.status().ok()) return reader.status();
  return config;
}

Result<ModelConfig> read_lfm2moe_config(const GgufFile& file) {
  ConfigReader reader(file, "lfm2moe");
  ModelConfig config = read_decoder_config(reader, 1e-5f, 1e6f);
  config.n_experts = reader.integer("expert_count", 1, 4096, 0);
  config.moe.n_used = static_cast<int>(reader.integer("expert_used_count", 1, config.n_experts, 4));
  // 1 = softmax, 2 = sigmoid; LFM2-MoE always routes by sigmoid.
  const std::int64_t gating = reader.integer("expert_gating_func", 1, 2, 2);
  config.moe.gating = gating == 1 ? Gating::softmax : Gating::sigmoid;
  config.moe.normalise = reader.boolean("expert_weights_norm", true);
  config.moe.scale = reader.positive("expert_weights_scale", 1.0f);
  if (!reader.status().ok()) return reader.status();
  return config;
}

}  // namespace runnel
