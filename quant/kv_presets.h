// The named KV caches: formats, and how much a model may suffer from them.
#pragma once
#include <array>
#include <string_view>

#include "quant/kv_format.h"

namespace runnel::quant {

/// A named choice of formats.
struct KvPreset {
  std::string_view name;
  KvPair pair;    // of most attention layers
  KvPair edge;    // of the first and the last one
  double max_kl;  // gate: mean KL divergence from an f32 cache, nats a token
};

// The gates are wide of what a good cache costs; they keep a preset from a model that it breaks.
// kv2's is that of a perplexity 10 % higher.
// clang-format off: one row per preset, aligned
inline constexpr std::array kKvPresets = std::to_array<KvPreset>({
    {"kv8", {KvFormat::kt8, KvFormat::kt8}, {KvFormat::kt8, KvFormat::kt8}, 0.002},
    {"kv6", {KvFormat::kt8, KvFormat::kt4}, {KvFormat::kt8, KvFormat::kt4}, 0.008},
    {"kv4", {KvFormat::kt4, KvFormat::kt4}, {KvFormat::kt8, KvFormat::kt4}, 0.015},
    {"kv3", {KvFormat::kt4, KvFormat::kt3}, {KvFormat::kt4, KvFormat::kt3}, 0.04},
    {"kv2", {KvFormat::kt3, KvFormat::kt2}, {KvFormat::kt3, KvFormat::kt2}, 0.1},
});
// clang-format on

}  // namespace runnel::quant
