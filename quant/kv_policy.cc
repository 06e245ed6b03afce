// Names of KV caches. K needs more bits than V: its errors go through the softmax.
#include "quant/kv_presets.h"

namespace runnel::quant {
namespace {

std::optional<KvFormat> of_bits(char digit) {
  for (const KvFormatInfo& row : kKvFormats)
    if (row.bits > 0 && row.bits == digit - '0') return row.format;
  return std::nullopt;
}

}  // namespace

std::optional<KvPolicy> parse_kv_policy(std::string_view text) {
  if (text == "f16") return plain_kv(DType::f16);
  if (text == "f32") return plain_kv(DType::f32);
  KvPolicy policy;
  for (const KvPreset& row : kKvPresets)
    if (row.name == text) {
      policy.pair = row.pair;
      policy.edge = row.edge;
      return policy;
    }
  if (text.size() != 4 || text[0] != 'k' || text[2] != 'v') return std::nullopt;
  const auto k = of_bits(text[1]), v = of_bits(text[3]);
  if (!k || !v) return std::nullopt;
  policy.pair = policy.edge = {*k, *v};
  return policy;
}

std::string_view kv_policy_names() {
  return "f16, f32, kv8, kv6, kv4, kv3, kv2, or kNvM with N, M of 8, 4, 3, 2";
}

}  // namespace runnel::quant
