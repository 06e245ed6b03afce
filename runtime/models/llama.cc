// Plain GQA decoders: Llama (arch llama) and Qwen3 (arch qwen3).
#include "runtime/models/llama.h"

#include "runtime/models/config_reader.h"

namespace runnel {

Result<ModelConfig> read_llama_config(const GgufFile& file) {
  ConfigReader reader(file, "llama");
  ModelConfig config = read_decoder_config(reader, 1e-5f, 1e4f);
  // GGUF files of llama hold q and k rows permuted for rotation of neighbouring pairs.
  config.rope.style = RopeStyle::interleaved;
  if (reader.integer("expert_count", 0, 4096, 0) > 0)
    reader.fail(Code::unsupported, "llama with experts is not supported");
  if (!reader.status().ok()) return reader.status();
  return config;
}

Result<ModelConfig> read_qwen3_config(const GgufFile& file) {
  ConfigReader reader(file, "qwen3");
  ModelConfig config = read_decoder_config(reader, 1e-6f, 1e6f);
  if (!reader.status().ok()) return reader.status();
  return config;
}

}  // namespace runnel
