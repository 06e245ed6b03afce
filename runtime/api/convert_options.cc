// C structs to C++ and back.
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>

#include "runtime/api/error.h"
#include "runtime/api/handles.h"

namespace runnel::api {
namespace {

/// Deepest nesting accepted in JSON from callers.
constexpr int kMaxJsonDepth = 64;

Result<nlohmann::ordered_json> parse_json(const char* text, const char* what) {
  bool too_deep = false;
  const auto limit = [&](int depth, nlohmann::ordered_json::parse_event_t,
                         nlohmann::ordered_json&) {
    too_deep = too_deep || depth > kMaxJsonDepth;
    return !too_deep;
  };
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(text, limit, false);
  if (too_deep || json.is_discarded())
    return Status(Code::invalid_argument,
                  std::string(what) + (too_deep ? " is nested too deeply" : " is not valid JSON"));
  return json;
}

}  // namespace

Result<SamplingParams> to_params(const runnel_sampling_options& o) {
  SamplingParams p;
  p.temperature = o.temperature;
  p.top_k = o.top_k;
  p.top_p = o.top_p;
  p.min_p = o.min_p;
  p.typical_p = o.typical_p;
  p.xtc_probability = o.xtc_probability;
  p.xtc_threshold = o.xtc_threshold;
  p.dry_multiplier = o.dry_multiplier;
  p.dry_base = o.dry_base;
  p.dry_allowed_length = o.dry_allowed_length;
  p.dry_last_n = o.dry_last_n;
  p.repeat_penalty = o.repeat_penalty;
  p.presence_penalty = o.presence_penalty;
  p.frequency_penalty = o.frequency_penalty;
  p.penalty_last_n = o.penalty_last_n;
  p.mirostat_tau = o.mirostat_tau;
  p.mirostat_eta = o.mirostat_eta;
  p.seed = o.seed;
  if (o.seed == UINT64_MAX) {
    std::random_device entropy;
    p.seed = (static_cast<std::uint64_t>(entropy()) << 32) | entropy();
  }
  if (o.n_logit_bias > 0 && o.logit_bias == nullptr) return missing("logit_bias");
  for (size_t i = 0; i < o.n_logit_bias; ++i)
    p.logit_bias.emplace_back(o.logit_bias[i].token, o.logit_bias[i].bias);
  RUNNEL_TRY(validate(p));
  return p;
}

runnel_sampling_options to_options(const SamplingParams& p) {
  runnel_sampling_options o{};
  o.size = sizeof o;
  o.temperature = p.temperature;
  o.top_k = p.top_k;
  o.top_p = p.top_p;
  o.min_p = p.min_p;
  o.typical_p = p.typical_p;
  o.xtc_probability = p.xtc_probability;
  o.xtc_threshold = p.xtc_threshold;
  o.dry_multiplier = p.dry_multiplier;
  o.dry_base = p.dry_base;
  o.dry_allowed_length = p.dry_allowed_length;
  o.dry_last_n = p.dry_last_n;
  o.repeat_penalty = p.repeat_penalty;
  o.presence_penalty = p.presence_penalty;
  o.frequency_penalty = p.frequency_penalty;
  o.penalty_last_n = p.penalty_last_n;
  o.mirostat_tau = p.mirostat_tau;
  o.mirostat_eta = p.mirostat_eta;
  o.seed = UINT64_MAX;
  return o;
}

Result<nlohmann::ordered_json> to_messages(const runnel_message* messages, size_t n_messages) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  if (n_messages > 0 && messages == nullptr) return missing("messages");
  // The element stride is the caller's struct size, so that older callers keep working.
  const char* at = reinterpret_cast<const char*>(messages);
  for (size_t i = 0; i < n_messages; ++i) {
    runnel_message message{};
    RUNNEL_ASSIGN(message,
                  copy_in(reinterpret_cast<const runnel_message*>(at), message, "message"));
    if (message.role == nullptr || message.content == nullptr)
      return Status(Code::invalid_argument,
                    "message " + std::to_string(i) + " has no role or no content");
    list.push_back({{"role", message.role}, {"content", message.content}});
    at += message.size;
  }
  return list;
}

Result<nlohmann::ordered_json> to_tools(const char* tools_json) {
  if (tools_json == nullptr) return nlohmann::ordered_json();
  RUNNEL_ASSIGN(nlohmann::ordered_json tools, parse_json(tools_json, "tools_json"));
  if (!tools.is_array()) return Status(Code::invalid_argument, "tools_json is not an array");
  return tools;
}

}  // namespace runnel::api
