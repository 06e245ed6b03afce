// Presets of the quantised KV cache. K needs more bits than V: its errors go through the softmax.
#include <array>

#include "quant/kv_format.h"

namespace runnel::quant {
namespace {

struct Preset {
  std::string_view name;
  KvPair pair, edge;
};

constexpr KvFormat k8 = KvFormat::kt8, k4 = KvFormat::kt4, k3 = KvFormat::kt3, k2 = KvFormat::kt2;

// clang-format off: one row per preset, aligned
constexpr std::array kPresets = std::to_array<Preset>({
    {"kv8", {k8, k8}, {k8, k8}},
    {"kv6", {k8, k4}, {k8, k4}},
    {"kv4", {k4, k4}, {k8, k4}},
    {"kv3", {k4, k3}, {k4, k3}},
    {"kv2", {k3, k2}, {k3, k2}},
});
// clang-format on

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
  for (const Preset& row : kPresets)
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
