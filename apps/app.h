// What the verbs share: exit codes, RAII handles over the C API, flags and the model they open.
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/terminal.h"
#include "runtime/api/runnel.h"

namespace runnel::app {

/// Process exit codes, part of the program's contract.
enum class Exit : int {
  ok = 0,
  usage = 2,
  bad_input = 3,
  out_of_memory = 4,
  device = 5,
  interrupted = 130
};

struct EngineDeleter {
  void operator()(runnel_engine* engine) const { runnel_engine_destroy(engine); }
};
struct SessionDeleter {
  void operator()(runnel_session* session) const { runnel_session_destroy(session); }
};
struct TextDeleter {
  void operator()(char* text) const { runnel_free(text); }
};
using EnginePtr = std::unique_ptr<runnel_engine, EngineDeleter>;
using SessionPtr = std::unique_ptr<runnel_session, SessionDeleter>;
using TextPtr = std::unique_ptr<char, TextDeleter>;

/// Ends a verb early: thrown by must() and fail(), caught in main().
struct Failure {
  Exit code;
  std::string message;
};
[[noreturn]] void fail(Exit code, std::string message);
/// Returns when status is ok, else fails with the exit code that fits and runnel_last_error().
void must(runnel_status status, std::string_view what = {});

/// -m, --backend, -t, -c, --kv, -v: which model, and how it runs.
struct ModelFlags {
  std::string model;  // empty: the bundled one, where the verb allows it
  std::string shape, type = "q4_0";
  std::string backend = "auto";
  std::string gpu_layers = "auto";
  int threads = 0;
  int prefill_threads = 0;  // 0 = threads
  int context = 0;
  std::string kv = "f16";
  std::string context_full = "stop";    // or "shift"
  int keep = 0;                         // first tokens that a shift keeps
  std::string prompt_cache;             // a session file; "": none
  std::vector<std::string> kv_without;  // sinks, recent, rotation
  bool kv_force = false;
  bool sparse_decode = false, sparse_prefill = false, streaming_heads = false;
  int sparse_from = 0, sparse_pages = 0;
  bool verbose = false;
  bool strict = false;
};
/// `model_required`: -m must be given.
enum class ModelFlag : std::uint8_t { required, bundled };
void add_model_flags(CLI::App& verb, ModelFlags& flags, ModelFlag model);
/// --context-full, --keep, --prompt-cache: for verbs that generate.
void add_session_flags(CLI::App& verb, ModelFlags& flags);
/// Opens the model with a progress bar on a terminal.
EnginePtr open_engine(const ModelFlags& flags);
/// The same with options of the caller's (made by engine_options).
EnginePtr open_engine(const ModelFlags& flags, runnel_engine_options options);
/// With the tokens of the prompt cache, where there is one.
SessionPtr open_session(runnel_engine* engine, const ModelFlags& flags);
runnel_engine_options engine_options(const ModelFlags& flags);
runnel_session_options session_options(const ModelFlags& flags);
/// While it lives, Ctrl-C cancels what the session does.
InterruptGuard cancel_on_interrupt(runnel_session* session);
runnel_model_info model_info(const runnel_engine* engine);
/// Path of the demo model beside the program or the source tree; fails with usage when there is
/// none.
std::string bundled_model();

/// --temp and the like; a flag that was not given leaves the model's suggestion.
struct SamplingFlags {
  std::optional<float> temperature, top_p, min_p, typical, xtc_probability, xtc_threshold,
      dry_multiplier, dry_base, repeat_penalty, presence_penalty, frequency_penalty, mirostat_tau,
      mirostat_eta;
  std::optional<int> top_k, dry_allowed_length, dry_last_n, repeat_last_n;
  std::optional<std::uint64_t> seed;
  std::vector<std::string> logit_bias;  // "ID:BIAS"
};
void add_sampling_flags(CLI::App& verb, SamplingFlags& flags);
void apply_sampling(runnel_engine* engine, runnel_session* session, const SamplingFlags& flags);

/// Token ids of a text.
std::vector<std::int32_t> tokenize(const runnel_engine* engine,
                                   std::string_view text,
                                   std::uint32_t flags);

/// Whole file, or standard input for "-". Fails with bad_input.
std::string read_file(const std::string& path);

/// A verb: declares its flags on `verb` and sets the callback that runs it.
struct Verb {
  const char* name;
  const char* summary;
  void (*declare)(CLI::App& verb);
};

void declare_chat(CLI::App& verb);
void declare_run(CLI::App& verb);
void declare_tokenize(CLI::App& verb);
void declare_logits(CLI::App& verb);
void declare_perplexity(CLI::App& verb);
void declare_bench(CLI::App& verb);
void declare_convert(CLI::App& verb);
void declare_quantize(CLI::App& verb);
void declare_imatrix(CLI::App& verb);
void declare_calibrate(CLI::App& verb);
void declare_inspect(CLI::App& verb);
void declare_devices(CLI::App& verb);
void declare_check(CLI::App& verb);

}  // namespace runnel::app
