#include <algorithm>

#include "runtime/models/arch.h"

namespace runnel {

std::int64_t ModelConfig::n_attention_layers() const {
  return std::ranges::count(layers, LayerKind::attention, &LayerConfig::kind);
}

std::int64_t ModelConfig::n_conv_layers() const {
  return std::ranges::count(layers, LayerKind::short_conv, &LayerConfig::kind);
}

namespace {

/// Heads that stream must be there, and leave one of their layer that does not.
Status check_streaming(const ModelConfig& config, std::span<const std::uint64_t> masks) {
  std::size_t ordinal = 0;
  for (const LayerConfig& layer : config.layers) {
    if (layer.kind != LayerKind::attention) continue;
    const std::uint64_t mask = ordinal < masks.size() ? masks[ordinal] : 0;
    ++ordinal;
    if (mask == 0) continue;
    const std::uint64_t all =
        layer.n_kv_heads < 64 ? (std::uint64_t{1} << layer.n_kv_heads) - 1 : ~std::uint64_t{0};
    if ((mask & ~all) != 0 || mask == all)
      return Status(Code::corrupt, "key runnel.kv.streaming names heads that attention layer " +
                                       std::to_string(ordinal - 1) +
                                       " does not have, or all that it has");
  }
  if (ordinal < masks.size())
    return Status(Code::corrupt, "key runnel.kv.streaming names more than the model's " +
                                     std::to_string(ordinal) + " attention layers");
  return {};
}

}  // namespace

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
    RUNNEL_TRY(check_streaming(*config, kv.streaming));
    return Model{std::move(file), *std::move(config), std::move(title), kv};
  }
  return Status(Code::unsupported,
                "architecture \"" + std::string(*architecture) + "\" is not one of " + known);
}

}  // namespace runnel
