#include "runtime/io/kv_calibration.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace runnel {
namespace {

constexpr std::string_view kPrefix = "runnel.kv.";

std::string name(std::string_view key) {
  return std::string(kPrefix) + std::string(key);
}

std::string kl_key(std::size_t preset) {
  return name("kl." + std::string(quant::kKvPresets[preset].name));
}

std::string text_of(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

Status read_version(const GgufFile& file) {
  RUNNEL_ASSIGN(const auto version, file.get_int(name("version")));
  if (!version) return Status(Code::corrupt, "key " + name("version") + " is missing");
  if (*version == KvCalibration::kVersion) return {};
  return Status(Code::unsupported, "key " + name("version") + " is " + std::to_string(*version) +
                                       "; this program knows " +
                                       std::to_string(KvCalibration::kVersion));
}

Result<std::uint64_t> read_count(const GgufFile& file, std::string_view key) {
  RUNNEL_ASSIGN(const auto value, file.get_int(name(key)));
  if (value && *value < 0) return Status(Code::corrupt, "key " + name(key) + " is negative");
  return static_cast<std::uint64_t>(value.value_or(0));
}

Result<std::optional<double>> read_kl(const GgufFile& file, std::size_t preset) {
  RUNNEL_ASSIGN(const std::optional<double> kl, file.get_float(kl_key(preset)));
  if (kl && !(std::isfinite(*kl) && *kl >= 0))
    return Status(Code::corrupt, "key " + kl_key(preset) + " must be a number of at least 0");
  return kl;
}

constexpr std::int64_t kMaskBits = 64;

Result<std::vector<std::uint64_t>> read_streaming(const GgufFile& file) {
  constexpr std::int64_t kMostLayers = 4096;
  std::vector<std::uint64_t> masks;
  RUNNEL_ASSIGN(const auto heads, file.get_ints(name("streaming")));
  for (const std::int64_t head : heads.value_or(std::vector<std::int64_t>{})) {
    if (head < 0 || head >= kMostLayers * kMaskBits)
      return Status(Code::corrupt, "key " + name("streaming") + " names head " +
                                       std::to_string(head) + ", which no model has");
    const auto layer = static_cast<std::size_t>(head / kMaskBits);
    if (masks.size() <= layer) masks.resize(layer + 1);
    masks[layer] |= std::uint64_t{1} << head % kMaskBits;
  }
  return masks;
}

std::vector<std::int32_t> heads_of(std::span<const std::uint64_t> masks) {
  std::vector<std::int32_t> heads;
  for (std::size_t layer = 0; layer < masks.size(); ++layer)
    for (std::int64_t head = 0; head < kMaskBits; ++head)
      if ((masks[layer] >> head & 1) != 0)
        heads.push_back(
            static_cast<std::int32_t>(static_cast<std::int64_t>(layer) * kMaskBits + head));
  return heads;
}

}  // namespace

bool is_kv_calibration_key(std::string_view key) {
  return key.starts_with(kPrefix);
}

Result<KvCalibration> KvCalibration::read(const GgufFile& file, std::int64_t head_dim) {
  KvCalibration found;
  const auto is_ours = [](const GgufKey& key) { return is_kv_calibration_key(key.name); };
  if (std::ranges::none_of(file.keys(), is_ours)) return found;
  RUNNEL_TRY(read_version(file));
  found.present = true;
  RUNNEL_ASSIGN(found.text_tokens, read_count(file, "text_tokens"));
  RUNNEL_ASSIGN(const auto folded, file.get_bool(name("v_folded")));
  RUNNEL_ASSIGN(const auto balanced, file.get_bool(name("balanced")));
  found.v_folded = folded.value_or(false);
  found.balanced = balanced.value_or(false);
  if (found.v_folded && head_dim % quant::kKvChannels != 0)
    return Status(Code::corrupt, "key " + name("v_folded") + " is set, but heads of " +
                                     std::to_string(head_dim) +
                                     " channels are not made of vectors of 64");
  RUNNEL_ASSIGN(found.streaming, read_streaming(file));
  for (std::size_t i = 0; i < found.kl.size(); ++i) {
    RUNNEL_ASSIGN(found.kl[i], read_kl(file, i));
  }
  return found;
}

void KvCalibration::write(GgufWriter& writer) const {
  writer.set_u32(name("version"), kVersion);
  writer.set_bool(name("v_folded"), v_folded);
  writer.set_bool(name("balanced"), balanced);
  writer.set_u64(name("text_tokens"), text_tokens);
  if (!streaming.empty()) writer.set_i32s(name("streaming"), heads_of(streaming));
  for (std::size_t i = 0; i < kl.size(); ++i)
    if (kl[i]) writer.set_f32(kl_key(i), static_cast<float>(*kl[i]));
}

Status KvCalibration::check(const quant::KvPolicy& policy) const {
  for (std::size_t i = 0; i < kl.size(); ++i) {
    const quant::KvPreset& preset = quant::kKvPresets[i];
    if (policy.pair != preset.pair || policy.edge != preset.edge) continue;
    if (!kl[i] || *kl[i] <= preset.max_kl) return {};
    return Status(Code::unsupported,
                  "the KV cache " + std::string(preset.name) +
                      " harms this model too much: calibration measured a KL divergence of " +
                      text_of(*kl[i]) + ", its limit is " + text_of(preset.max_kl) +
                      "; use a finer one, or force it (--kv-force, kv_force)");
  }
  return {};
}

}  // namespace runnel
