#include "converters/registry.h"

#include <array>

#include "runtime/base/quote.h"

namespace runnel::converters {
namespace {

// clang-format off: one row per architecture
constexpr auto kArchs = std::to_array<HfArch>({
    {"lfm2", "lfm2", "Lfm2ForCausalLM", "lfm2", plan_lfm2},
    {"lfm2", "lfm2_vl", "Lfm2VlForConditionalGeneration", "lfm2", plan_lfm2},
    {"lfm2", "lfm2", "LFM2ForCausalLM", "lfm2", plan_lfm2},
    {"lfm2moe", "lfm2_moe", "Lfm2MoeForCausalLM", "lfm2", plan_lfm2moe},
    {"llama", "llama", "LlamaForCausalLM", "llama-bpe", plan_llama},
    {"qwen3", "qwen3", "Qwen3ForCausalLM", "llama-bpe", plan_qwen3},
});
// clang-format on

}  // namespace

Result<Fields> text_config(const Json& config) {
  RUNNEL_ASSIGN(const Fields outer, Fields::of(config, "config.json"));
  const Json* text = outer.find("text_config");
  if (text == nullptr) return outer;
  return Fields::of(*text, "config.json: text_config", &config);
}

Result<const HfArch*> find_hf_arch(const Json& config) {
  RUNNEL_ASSIGN(const Fields fields, Fields::of(config, "config.json"));
  RUNNEL_ASSIGN(const auto classes, fields.get_strings("architectures"));
  RUNNEL_ASSIGN(const auto type, fields.get_string("model_type"));
  if (classes && !classes->empty()) {
    for (const HfArch& arch : kArchs)
      if (arch.class_name == classes->front()) return &arch;
    return Status(Code::unsupported, "config.json: architecture " +
                                         runnel::quote(classes->front()) +
                                         " (known: lfm2, lfm2moe, llama, qwen3)");
  }
  if (!type) return fields.bad("architectures", "and 'model_type' are missing");
  for (const HfArch& arch : kArchs)
    if (arch.model_type == *type) return &arch;
  return Status(Code::unsupported, "config.json: model_type " + runnel::quote(*type) +
                                       " (known: lfm2, lfm2moe, llama, qwen3)");
}

}  // namespace runnel::converters
