// Handles on the bundled demo model, for the API tests.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "runtime/api/runnel.h"

namespace runnel::tests {

using EnginePtr = std::unique_ptr<runnel_engine, void (*)(runnel_engine*)>;
using SessionPtr = std::unique_ptr<runnel_session, void (*)(runnel_session*)>;

inline std::string demo_path() {
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(RUNNEL_SOURCE_DIR) + "/models"))
    if (entry.path().extension() == ".gguf") return entry.path().string();
  FAIL("no model in models/");
  return "";
}

inline runnel_engine_options demo_options() {
  static const std::string path = demo_path();
  runnel_engine_options options;
  runnel_engine_options_init(&options);
  options.model_path = path.c_str();
  return options;
}

inline EnginePtr demo_engine() {
  const runnel_engine_options options = demo_options();
  runnel_engine* engine = nullptr;
  REQUIRE_MESSAGE(runnel_engine_create(&options, &engine) == RUNNEL_OK, runnel_last_error());
  return {engine, runnel_engine_destroy};
}

inline SessionPtr demo_session(runnel_engine* engine, const char* kv = "f16") {
  runnel_session_options options;
  runnel_session_options_init(&options);
  options.kv = kv;
  runnel_session* session = nullptr;
  REQUIRE_MESSAGE(runnel_session_create(engine, &options, &session) == RUNNEL_OK,
                  runnel_last_error());
  return {session, runnel_session_destroy};
}

inline std::vector<int32_t> demo_ids(const runnel_engine* engine, const std::string& text) {
  std::vector<int32_t> ids(text.size() + 1);
  size_t n = 0;
  REQUIRE(runnel_tokenize(engine, text.data(), text.size(), RUNNEL_TOKENS_BOS, ids.data(),
                          ids.size(), &n) == RUNNEL_OK);
  ids.resize(n);
  return ids;
}

inline void set_greedy(runnel_session* session) {
  runnel_sampling_options sampling;
  runnel_sampling_options_init(&sampling);
  sampling.temperature = 0;
  REQUIRE(runnel_session_set_sampling(session, &sampling) == RUNNEL_OK);
}

/// Asks one question; the text goes to `out` piece by piece.
inline runnel_generate_result ask(runnel_session* session,
                                  const char* question,
                                  runnel_generate_options options) {
  const runnel_message message{sizeof(runnel_message), "user", question};
  runnel_generate_result result;
  runnel_generate_result_init(&result);
  REQUIRE_MESSAGE(
      runnel_session_chat(session, &message, 1, nullptr, &options, &result) == RUNNEL_OK,
      runnel_last_error());
  return result;
}

}  // namespace runnel::tests
