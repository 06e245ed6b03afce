// C API: sessions, sampling, generation.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/api/error.h"
#include "runtime/api/handles.h"

using namespace runnel;  // NOLINT: a file of extern "C" functions
using runnel::api::guarded;
using runnel::api::missing;

namespace {

Result<std::span<const TokenId>> id_span(const int32_t* ids, size_t n_ids) {
  if (ids == nullptr && n_ids > 0) return missing("ids");
  return std::span<const TokenId>(ids, n_ids);
}

Result<GenerateOptions> to_generate_options(const runnel_generate_options* options) {
  runnel_generate_options defaults;
  runnel_generate_options_init(&defaults);
  RUNNEL_ASSIGN(const auto given, api::copy_in(options, defaults, "generate options"));
  GenerateOptions result;
  result.max_tokens = given.max_tokens;
  result.ignore_eog = given.ignore_eog != 0;
  result.show_special = given.show_special != 0;
  if (given.n_stops > 0 && given.stops == nullptr) return missing("stops");
  for (size_t i = 0; i < given.n_stops; ++i) {
    if (given.stops[i] == nullptr) return missing("a stop string");
    result.stops.emplace_back(given.stops[i]);
  }
  if (given.on_text != nullptr)
    result.on_text = [callback = given.on_text, user = given.text_user](const std::string& piece) {
      return callback(user, piece.c_str(), piece.size()) != 0;
    };
  return result;
}

void hand_over(const GenerateResult& result, runnel_generate_result* out) {
  if (out == nullptr) return;
  runnel_generate_result full{};
  full.n_prompt_tokens = static_cast<int32_t>(result.n_prompt);
  full.n_reused_tokens = static_cast<int32_t>(result.n_reused);
  full.n_tokens = static_cast<int32_t>(result.n_tokens);
  full.stop_reason = static_cast<runnel_stop_reason>(result.stop);
  full.prompt_seconds = result.prompt_seconds;
  full.generate_seconds = result.generate_seconds;
  full.n_dropped_tokens = static_cast<int32_t>(result.n_dropped);
  api::copy_out(full, out);
}

}  // namespace

extern "C" {

void runnel_session_options_init_sized(runnel_session_options* options, size_t size) {
  api::begin(options, size);
}

runnel_status runnel_session_create(runnel_engine* engine,
                                    const runnel_session_options* options,
                                    runnel_session** session) {
  return guarded([&]() -> Status {
    if (session == nullptr) return missing("session");
    *session = nullptr;
    if (engine == nullptr) return missing("engine");
    runnel_session_options defaults;
    runnel_session_options_init(&defaults);
    RUNNEL_ASSIGN(const auto given, api::copy_in(options, defaults, "session options"));
    SessionOptions chosen;
    chosen.context_size = given.context_size;
    chosen.prefill_chunk = given.prefill_chunk;
    RUNNEL_ASSIGN(chosen.kv, api::to_kv_policy(given));
    if (given.context_policy != RUNNEL_CONTEXT_STOP && given.context_policy != RUNNEL_CONTEXT_SHIFT)
      return Status(Code::invalid_argument, "context_policy is not a runnel_context_policy");
    const bool shifts = given.context_policy == RUNNEL_CONTEXT_SHIFT;
    chosen.policy = shifts ? ContextPolicy::shift : ContextPolicy::stop;
    if (given.keep_tokens < 0) return Status(Code::invalid_argument, "keep_tokens is negative");
    chosen.keep_tokens = given.keep_tokens;
    chosen.kv_force = given.kv_force != 0;
    auto handle = std::make_unique<runnel_session>();
    handle->owner = engine;
    RUNNEL_ASSIGN(handle->session, Session::create(*engine->engine, chosen));
    *session = handle.release();
    return {};
  });
}

void runnel_session_destroy(runnel_session* session) {
  delete session;
}

runnel_status runnel_session_fork(runnel_session* parent, runnel_session** child) {
  return guarded([&]() -> Status {
    if (child == nullptr) return missing("child");
    *child = nullptr;
    if (parent == nullptr) return missing("parent");
    auto handle = std::make_unique<runnel_session>();
    handle->owner = parent->owner;
    RUNNEL_ASSIGN(handle->session, parent->session->fork());
    *child = handle.release();
    return {};
  });
}

void runnel_session_memory_init_sized(runnel_session_memory* memory, size_t size) {
  api::begin(memory, size);
}

runnel_status runnel_session_memory_now(const runnel_session* session,
                                        runnel_session_memory* memory) {
  return guarded([&]() -> Status {
    if (session == nullptr) return missing("session");
    if (memory == nullptr) return missing("memory");
    const CacheBytes held = session->session->memory();
    api::copy_out(runnel_session_memory{0, held.kv, held.shared, held.conv}, memory);
    return {};
  });
}

int32_t runnel_session_position(const runnel_session* session) {
  return session == nullptr ? 0 : static_cast<int32_t>(session->session->tokens().size());
}

int32_t runnel_session_context_size(const runnel_session* session) {
  return session == nullptr ? 0 : static_cast<int32_t>(session->session->context_size());
}

int32_t runnel_session_dropped(const runnel_session* session) {
  return session == nullptr ? 0 : static_cast<int32_t>(session->session->n_dropped());
}

runnel_status runnel_session_tokens(const runnel_session* session,
                                    int32_t* ids,
                                    size_t capacity,
                                    size_t* n_ids) {
  return guarded([&]() -> Status {
    if (session == nullptr) return missing("session");
    if (n_ids == nullptr) return missing("n_ids");
    if (ids == nullptr && capacity > 0) return missing("ids");
    const std::span<const TokenId> tokens = session->session->tokens();
    *n_ids = tokens.size();
    std::copy_n(tokens.begin(), std::min(capacity, tokens.size()), ids);
    return {};
  });
}

runnel_status runnel_session_truncate(runnel_session* session, int32_t n) {
  return guarded([&]() -> Status {
    if (session == nullptr) return missing("session");
    return session->session->truncate(n);
  });
}

runnel_status runnel_session_set_tokens(runnel_session* session,
                                        const int32_t* ids,
                                        size_t n_ids,
                                        int32_t* n_reused) {
  return guarded([&]() -> Status {
    if (session == nullptr) return missing("session");
    RUNNEL_ASSIGN(const auto span, id_span(ids, n_ids));
    RUNNEL_ASSIGN(const std::int64_t kept, session->session->set_tokens(span));
    if (n_reused != nullptr) *n_reused = static_cast<int32_t>(kept);
    return {};
  });
}

runnel_status runnel_session_append(runnel_session* session, const int32_t* ids, size_t n_ids) {
  return guarded([&]() -> Status {
    if (session == nullptr) return missing("session");
    RUNNEL_ASSIGN(const auto span, id_span(ids, n_ids));
    return session->session->append(span);
  });
}

runnel_status runnel_session_evaluate(runnel_session* session,
                                      const int32_t* ids,
                                      size_t n_ids,
                                      runnel_logits_callback on_logits,
                                      void* user) {
  return guarded([&]() -> Status {
    if (session == nullptr) return missing("session");
    if (on_logits == nullptr) return missing("on_logits");
    RUNNEL_ASSIGN(const auto span, id_span(ids, n_ids));
    return session->session->evaluate(
        span, [&](std::int64_t first, std::int64_t n, std::span<const float> logits) {
          return on_logits(user, static_cast<int32_t>(first), static_cast<int32_t>(n),
                           logits.data()) != 0;
        });
  });
}

runnel_status runnel_session_logits(const runnel_session* session,
                                    const float** logits,
                                    size_t* n_vocab) {
  return guarded([&]() -> Status {
    if (session == nullptr) return missing("session");
    if (logits == nullptr) return missing("logits");
    RUNNEL_ASSIGN(const std::span<const float> row, session->session->logits());
    *logits = row.data();
    if (n_vocab != nullptr) *n_vocab = row.size();
    return {};
  });
}

void runnel_session_cancel(runnel_session* session) {
  if (session != nullptr) session->session->cancel();
}

runnel_status runnel_session_save(runnel_session* session, const char* path, const char* note) {
  return guarded([&]() -> Status {
    if (session == nullptr) return missing("session");
    if (path == nullptr) return missing("path");
    return session->session->save(path, note == nullptr ? "" : note);
  });
}

runnel_status runnel_session_load(runnel_session* session, const char* path, char** note) {
  return guarded([&]() -> Status {
    if (note != nullptr) *note = nullptr;
    if (session == nullptr) return missing("session");
    if (path == nullptr) return missing("path");
    RUNNEL_ASSIGN(const std::string text, session->session->load(path));
    return note == nullptr ? Status() : api::copy_text(text, note);
  });
}

void runnel_sampling_options_init_sized(runnel_sampling_options* options, size_t size) {
  api::begin(options, size, api::to_options(SamplingParams{}));
}

runnel_status runnel_engine_suggested_sampling(const runnel_engine* engine,
                                               runnel_sampling_options* options) {
  return guarded([&]() -> Status {
    if (engine == nullptr) return missing("engine");
    if (options == nullptr) return missing("options");
    api::copy_out(api::to_options(engine->engine->suggested_sampling()), options);
    return {};
  });
}

runnel_status runnel_session_set_sampling(runnel_session* session,
                                          const runnel_sampling_options* options) {
  return guarded([&]() -> Status {
    if (session == nullptr) return missing("session");
    if (options == nullptr) return missing("options");
    RUNNEL_ASSIGN(const auto given,
                  api::copy_in(options, api::to_options(SamplingParams{}), "sampling options"));
    RUNNEL_ASSIGN(SamplingParams params, api::to_params(given));
    session->session->set_sampling(std::move(params));
    return {};
  });
}

runnel_status runnel_session_sample(runnel_session* session, int32_t* id) {
  return guarded([&]() -> Status {
    if (session == nullptr) return missing("session");
    if (id == nullptr) return missing("id");
    RUNNEL_ASSIGN(*id, session->session->sample());
    return {};
  });
}

void runnel_generate_options_init_sized(runnel_generate_options* options, size_t size) {
  runnel_generate_options defaults = {};
  defaults.max_tokens = -1;
  api::begin(options, size, defaults);
}

void runnel_generate_result_init_sized(runnel_generate_result* result, size_t size) {
  api::begin(result, size);
}

runnel_status runnel_session_generate(runnel_session* session,
                                      const runnel_generate_options* options,
                                      runnel_generate_result* result) {
  return guarded([&]() -> Status {
    if (session == nullptr) return missing("session");
    RUNNEL_ASSIGN(const GenerateOptions chosen, to_generate_options(options));
    RUNNEL_ASSIGN(const GenerateResult made, session->session->generate(chosen));
    hand_over(made, result);
    return {};
  });
}

runnel_status runnel_session_chat(runnel_session* session,
                                  const runnel_message* messages,
                                  size_t n_messages,
                                  const char* tools_json,
                                  const runnel_generate_options* options,
                                  runnel_generate_result* result) {
  return guarded([&]() -> Status {
    if (session == nullptr) return missing("session");
    RUNNEL_ASSIGN(const GenerateOptions chosen, to_generate_options(options));
    RUNNEL_ASSIGN(const auto json, api::to_messages(messages, n_messages));
    RUNNEL_ASSIGN(const auto tools, api::to_tools(tools_json));
    RUNNEL_ASSIGN(const GenerateResult made, session->session->chat(json, tools, chosen));
    hand_over(made, result);
    return {};
  });
}

}  // extern "C"
