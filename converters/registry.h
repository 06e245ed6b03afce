// Table of the model architectures that can be converted. Immutable, thread-safe.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "converters/json.h"
#include "converters/plan.h"
#include "runtime/base/status.h"
#include "runtime/io/gguf_writer.h"

namespace runnel::converters {

/// What an architecture's converter hands back.
struct ModelPlan {
  std::vector<PlannedTensor> tensors;  // in file order
  std::vector<std::string> notes;      // one line each, for the user
  std::int64_t n_vocab = 0;            // rows of the embedding
};

/// One architecture: its names in config.json and how it becomes GGUF.
struct HfArch {
  std::string_view gguf_name;      // general.architecture
  std::string_view model_type;     // config.json "model_type"
  std::string_view class_name;     // config.json "architectures"[0]
  std::string_view pre_tokenizer;  // name of the Llama-3 pattern for this architecture
  /// Plans all tensors and sets the keys GGUF_NAME.* on `meta`. ERRORS: corrupt, unsupported,
  /// naming the tensor or key.
  Result<ModelPlan> (*plan)(const Fields& config, const Checkpoint& checkpoint, GgufWriter& meta);
};

// One per hf_*.cc.
Result<ModelPlan> plan_lfm2(const Fields&, const Checkpoint&, GgufWriter&);
Result<ModelPlan> plan_lfm2moe(const Fields&, const Checkpoint&, GgufWriter&);
Result<ModelPlan> plan_llama(const Fields&, const Checkpoint&, GgufWriter&);
Result<ModelPlan> plan_qwen3(const Fields&, const Checkpoint&, GgufWriter&);

/// The row for a config.json, whose "text_config" counts where there is one.
/// ERRORS: unsupported (naming the architecture), corrupt.
Result<const HfArch*> find_hf_arch(const Json& config);

/// The settings of the text model: "text_config" over the outer object, or the object itself.
/// ERRORS: corrupt.
Result<Fields> text_config(const Json& config);

}  // namespace runnel::converters
