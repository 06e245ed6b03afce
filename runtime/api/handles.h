// What the opaque handles hold. Internal to runtime/api.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "runtime/api/runnel.h"
#include "runtime/session/session.h"

struct runnel_engine {
  std::unique_ptr<runnel::Engine> engine;
  std::string backend, file_type;  // texts that runnel_engine_info hands out
  double load_seconds = 0;
};

struct runnel_session {
  runnel_engine* owner = nullptr;
  std::unique_ptr<runnel::Session> session;
};

namespace runnel::api {

/// The C sampling options as SamplingParams, checked. ERRORS: invalid_argument.
Result<SamplingParams> to_params(const runnel_sampling_options& options);
/// And back (logit_bias stays NULL).
runnel_sampling_options to_options(const SamplingParams& params);

/// The KV cache that session options ask for. ERRORS: invalid_argument.
Result<quant::KvPolicy> to_kv_policy(const runnel_session_options& options);

/// C messages as the JSON array a chat template sees.
Result<nlohmann::ordered_json> to_messages(const runnel_message* messages, size_t n_messages);
/// The tools JSON array, null for NULL.
Result<nlohmann::ordered_json> to_tools(const char* tools_json);

}  // namespace runnel::api
