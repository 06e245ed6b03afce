#include <algorithm>

#include "runtime/models/arch.h"

namespace runnel {

std::int64_t ModelConfig::n_attention_layers() const {
  return std::ranges::count(layers, LayerKind::attention, &LayerConfig::kind);
}

std::int64_t ModelConfig::n_conv_layers() const {
  return std::ranges::count(layers, LayerKind::short_conv, &LayerConfig::kind);
}

Result<Model> Model::load(GgufFile file) {
  RUNNEL_ASSIGN(const std::optional<std::string_view> architecture,
                file.get_string("general.architecture"));
  if (!architecture) return Status(Code::corrupt, "key general.architecture is missing");
  RUNNEL_ASSIGN(const std::optional<std::string_view> name, file.get_string("general.name"));
  std::string known;
  for (const Arch& arch : archs()) {
    known += (known.empty() ? "" : ", ") + std::string(arch.name);
    if (arch.name != *architecture) continue;
    Result<ModelConfig> config = arch.read_config(file);
    if (!config.ok()) return config.status().with_context(arch.name);
    std::string title(name.value_or(*architecture));
    RUNNEL_ASSIGN(const KvCalibration kv, KvCalibration::read(file, config->head_dim));
    return Model{std::move(file), *std::move(config), std::move(title), kv};
  }
  return Status(Code::unsupported,
                "architecture \"" + std::string(*architecture) + "\" is not one of " + known);
}

}  // namespace runnel
