// runnel run -m FILE -p TEXT [--raw] [-n N]: one prompt, one answer.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/app.h"
#include "apps/terminal.h"

namespace runnel::app {
namespace {

struct RunFlags {
  ModelFlags model;
  SamplingFlags sampling;
  std::string prompt = "-";
  std::string system;
  std::vector<std::string> stops;
  int max_tokens = -1;
  bool raw = false, json = false, special = false, timings = false;
};

constexpr const char* kStopNames[] = {"eog",      "limit",     "stop",
                                      "callback", "cancelled", "context_full"};

struct Output {
  bool streams = false;  // print pieces as they come
  std::string text;
};

int take_piece(void* user, const char* piece, size_t n_bytes) {
  auto& output = *static_cast<Output*>(user);
  output.text.append(piece, n_bytes);
  if (output.streams) {
    std::fwrite(piece, 1, n_bytes, stdout);
    std::fflush(stdout);
  }
  return 1;
}

void print_json(const RunFlags& flags, const Output& output, const runnel_generate_result& result) {
  nlohmann::ordered_json json;
  json["text"] = output.text;
  json["stop"] = kStopNames[result.stop_reason];
  json["prompt_tokens"] = result.n_prompt_tokens;
  json["reused_tokens"] = result.n_reused_tokens;
  json["tokens"] = result.n_tokens;
  json["dropped_tokens"] = result.n_dropped_tokens;
  json["prompt_seconds"] = result.prompt_seconds;
  json["generate_seconds"] = result.generate_seconds;
  json["raw"] = flags.raw;
  std::puts(json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

/// Writes the prompt cache when this prompt had more to compute than the logits of its last token.
void keep_prompt(const RunFlags& flags,
                 runnel_session* session,
                 const runnel_generate_result& prompt) {
  if (!flags.model.prompt_cache.empty() && prompt.n_prompt_tokens - prompt.n_reused_tokens > 1)
    must(runnel_session_save(session, flags.model.prompt_cache.c_str(), nullptr));
}

/// The prompt as it is, BOS as the model wants it; no template.
void generate_raw(runnel_engine* engine,
                  runnel_session* session,
                  const RunFlags& flags,
                  const std::string& prompt,
                  const runnel_generate_options& options,
                  runnel_generate_result& result) {
  std::vector<std::int32_t> ids =
      tokenize(engine, prompt, RUNNEL_TOKENS_MODEL_BOS | RUNNEL_TOKENS_SPECIAL);
  if (ids.empty()) fail(Exit::usage, "the prompt is empty");
  runnel_generate_result computed = result;
  computed.n_prompt_tokens = static_cast<std::int32_t>(ids.size());
  must(runnel_session_set_tokens(session, ids.data(), ids.size(), &computed.n_reused_tokens));
  keep_prompt(flags, session, computed);
  must(runnel_session_generate(session, &options, &result));
  result.n_prompt_tokens = computed.n_prompt_tokens;
  result.n_reused_tokens = computed.n_reused_tokens;
}

/// One question through the chat template.
void generate_chat(runnel_session* session,
                   const RunFlags& flags,
                   const std::string& prompt,
                   const runnel_generate_options& options,
                   runnel_generate_result& result) {
  std::vector<runnel_message> messages;
  if (!flags.system.empty())
    messages.push_back({sizeof(runnel_message), "system", flags.system.c_str()});
  messages.push_back({sizeof(runnel_message), "user", prompt.c_str()});
  const auto chat = [&](const runnel_generate_options& how, runnel_generate_result& out) {
    must(runnel_session_chat(session, messages.data(), messages.size(), nullptr, &how, &out));
  };
  if (flags.model.prompt_cache.empty()) return chat(options, result);
  runnel_generate_options nothing = options;  // first the prompt alone, to be kept
  nothing.max_tokens = 0;
  runnel_generate_result computed = result;
  chat(nothing, computed);
  if (computed.stop_reason == RUNNEL_STOP_CANCELLED) {
    result = computed;
    return;
  }
  keep_prompt(flags, session, computed);
  chat(options, result);
  result.n_reused_tokens = computed.n_reused_tokens;
  result.prompt_seconds += computed.prompt_seconds;
}

void run(const RunFlags& flags) {
  std::string prompt = flags.prompt == "-" ? read_file("-") : flags.prompt;
  const EnginePtr engine = open_engine(flags.model);
  const SessionPtr session = open_session(engine.get(), flags.model);
  apply_sampling(engine.get(), session.get(), flags.sampling);

  Output output;
  output.streams = !flags.json;
  std::vector<const char*> stops;
  for (const std::string& stop : flags.stops) stops.push_back(stop.c_str());
  runnel_generate_options options;
  runnel_generate_options_init(&options);
  options.max_tokens = flags.max_tokens;
  options.stops = stops.data();
  options.n_stops = stops.size();
  options.show_special = flags.special ? 1 : 0;
  options.on_text = take_piece;
  options.text_user = &output;
  runnel_generate_result result;
  runnel_generate_result_init(&result);
  const InterruptGuard guard = cancel_on_interrupt(session.get());
  if (flags.raw || model_info(engine.get()).has_chat_template == 0) {
    generate_raw(engine.get(), session.get(), flags, prompt, options, result);
  } else {
    generate_chat(session.get(), flags, prompt, options, result);
  }
  if (flags.json)
    print_json(flags, output, result);
  else if (stdout_is_terminal() || output.text.empty() || output.text.back() != '\n')
    std::fputs("\n", stdout);
  if (flags.timings)
    std::fprintf(stderr, "[ prompt: %d tokens, %.1f t/s | generation: %d tokens, %.1f t/s ]\n",
                 result.n_prompt_tokens,
                 result.n_prompt_tokens / std::max(1e-9, result.prompt_seconds), result.n_tokens,
                 result.n_tokens / std::max(1e-9, result.generate_seconds));
  if (result.stop_reason == RUNNEL_STOP_CANCELLED) fail(Exit::interrupted, "");
}

}  // namespace

void declare_run(CLI::App& verb) {
  auto flags = std::make_shared<RunFlags>();
  add_model_flags(verb, flags->model, ModelFlag::required);
  add_session_flags(verb, flags->model);
  verb.add_option("-p,--prompt", flags->prompt, "the prompt; standard input when absent or \"-\"");
  verb.add_option("--system", flags->system, "system message");
  verb.add_flag("--raw", flags->raw, "continue the text as it is, without the chat template");
  verb.add_option("-n,--n-predict", flags->max_tokens, "tokens at most; -1 = until the model ends");
  verb.add_option("--stop", flags->stops, "stop at this text; may be repeated");
  verb.add_flag("--special", flags->special, "show control tokens");
  verb.add_flag("--timings", flags->timings, "speed, on stderr");
  verb.add_flag("--json", flags->json, "one JSON document on stdout");
  add_sampling_flags(verb, flags->sampling);
  verb.callback([flags] { run(*flags); });
}

}  // namespace runnel::app
