// Flags of the verbs that run a model, and the handles made from them.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "apps/app.h"
#include "apps/terminal.h"

namespace runnel::app {
namespace {

namespace fs = std::filesystem;

Exit exit_for(runnel_status status) {
  switch (status) {
    case RUNNEL_OK:
      return Exit::ok;
    case RUNNEL_ERROR_OUT_OF_MEMORY:
      return Exit::out_of_memory;
    case RUNNEL_ERROR_DEVICE:
      return Exit::device;
    case RUNNEL_ERROR_CANCELLED:
      return Exit::interrupted;
    case RUNNEL_ERROR_INVALID_ARGUMENT:
      return Exit::usage;
    default:
      return Exit::bad_input;
  }
}

void print_log(void*, runnel_log_level level, const char* message) {
  static constexpr std::array<const char*, 4> kNames{"error", "warning", "info", "debug"};
  std::fprintf(stderr, "%s: %s\n", kNames[static_cast<std::size_t>(level)], message);
}

}  // namespace

void fail(Exit code, std::string message) {
  throw Failure{code, std::move(message)};
}

void must(runnel_status status, std::string_view what) {
  if (status == RUNNEL_OK) return;
  std::string message(what);
  if (!message.empty()) message += ": ";
  message += runnel_last_error();
  fail(exit_for(status), message.empty() ? runnel_status_name(status) : message);
}

void add_model_flags(CLI::App& verb, ModelFlags& flags, ModelFlag model) {
  CLI::Option* option = verb.add_option("-m,--model", flags.model, "model file (GGUF)");
  if (model == ModelFlag::required) option->required();
  verb.add_option("--backend", flags.backend, "auto, or a name listed by `runnel devices`");
  verb.add_option("--gpu-layers", flags.gpu_layers,
                  "last layers that a backend with memory of its own gets: a number, or auto: all "
                  "that fit")
      ->check(CLI::IsMember({"auto"}) | CLI::Range(0, 1 << 16));
  verb.add_option("-t,--threads", flags.threads, "CPU threads (0 = performance cores)")
      ->check(CLI::Range(0, 1024));
  verb.add_option("--prefill-threads", flags.prefill_threads,
                  "CPU threads for prompts (0 = as --threads)")
      ->check(CLI::Range(0, 1024));
  verb.add_option("-c,--ctx-size", flags.context,
                  "context in tokens (0 = the model's, at most 8192)")
      ->check(CLI::Range(0, 1 << 24));
  verb.add_option("--kv", flags.kv,
                  "KV cache: f16, f32, kv8, kv6, kv4, kv3, kv2, or bits of K and V as in k8v4");
  verb.add_option("--kv-without", flags.kv_without,
                  "of a quantised cache leave out: sinks, recent, rotation (to measure them)")
      ->delimiter(',')
      ->check(CLI::IsMember({"sinks", "recent", "rotation"}));
  verb.add_flag("--kv-force", flags.kv_force,
                "also a KV cache that, as the model file has it, harms the model too much");
  verb.add_flag("--sparse-decode", flags.sparse_decode,
                "a generated token reads only part of a long quantised cache");
  verb.add_flag("--sparse-prefill", flags.sparse_prefill, "so do the tokens of prompts");
  verb.add_option("--sparse-from", flags.sparse_from, "tokens from which on (0 = 16384)")
      ->check(CLI::Range(0, 1 << 24));
  verb.add_option("--sparse-pages", flags.sparse_pages,
                  "pages of 64 tokens that each query head chooses (0 = 16)")
      ->check(CLI::Range(0, 1024));
  verb.add_flag("--streaming-heads", flags.streaming_heads,
                "experimental: heads that `runnel calibrate` found to need only the first and the "
                "newest tokens keep nothing else");
  verb.add_flag("--strict", flags.strict, "fail when an operator has no kernel on the backend");
  verb.add_flag("-v,--verbose", flags.verbose, "say more on stderr");
}

void add_session_flags(CLI::App& verb, ModelFlags& flags) {
  verb.add_option("--context-full", flags.context_full,
                  "stop, or shift: forget the older half of all but the first tokens and go on")
      ->check(CLI::IsMember({"stop", "shift"}));
  verb.add_option("--keep", flags.keep, "first tokens that a shift keeps, system message besides")
      ->check(CLI::Range(0, 1 << 24));
  verb.add_option("--prompt-cache", flags.prompt_cache,
                  "session file: read when it is there, written when there is something new");
}

runnel_engine_options engine_options(const ModelFlags& flags) {
  runnel_engine_options options;
  runnel_engine_options_init(&options);
  if (!flags.shape.empty()) {
    options.synthetic_shape = flags.shape.c_str();
    options.synthetic_type = flags.type.c_str();
  } else {
    options.model_path = flags.model.c_str();
  }
  options.backend = flags.backend.c_str();
  options.n_threads = flags.threads;
  if (flags.gpu_layers != "auto") options.gpu_layers = std::stoi(flags.gpu_layers);
  options.n_prefill_threads = flags.prefill_threads;
  options.strict = flags.strict ? 1 : 0;
  options.on_log = print_log;
  options.log_level = flags.verbose ? RUNNEL_LOG_DEBUG : RUNNEL_LOG_WARN;
  return options;
}

InterruptGuard cancel_on_interrupt(runnel_session* session) {
  return InterruptGuard(
      [](void* running) { runnel_session_cancel(static_cast<runnel_session*>(running)); }, session);
}

runnel_session_options session_options(const ModelFlags& flags) {
  runnel_session_options options;
  runnel_session_options_init(&options);
  options.context_size = flags.context;
  options.context_policy =
      flags.context_full == "shift" ? RUNNEL_CONTEXT_SHIFT : RUNNEL_CONTEXT_STOP;
  options.keep_tokens = flags.keep;
  options.kv = flags.kv.c_str();
  options.kv_force = flags.kv_force ? 1 : 0;
  if (flags.sparse_decode) options.sparse |= RUNNEL_SPARSE_DECODE;
  if (flags.sparse_prefill) options.sparse |= RUNNEL_SPARSE_PREFILL;
  options.sparse_from = flags.sparse_from;
  options.sparse_pages = flags.sparse_pages;
  options.streaming_heads = flags.streaming_heads ? 1 : 0;
  for (const std::string& part : flags.kv_without)
    options.kv_without |= part == "sinks"    ? RUNNEL_KV_NO_SINKS
                          : part == "recent" ? RUNNEL_KV_NO_RECENT
                                             : RUNNEL_KV_NO_ROTATION;
  return options;
}

EnginePtr open_engine(const ModelFlags& flags) {
  return open_engine(flags, engine_options(flags));
}

EnginePtr open_engine(const ModelFlags& flags, runnel_engine_options options) {
  ProgressBar bar("loading");
  options.progress_user = &bar;
  options.on_progress = [](void* user, float fraction) {
    static_cast<ProgressBar*>(user)->update(static_cast<double>(fraction));
    return 1;
  };
  runnel_engine* engine = nullptr;
  const runnel_status status = runnel_engine_create(&options, &engine);
  bar.clear();
  must(status, flags.shape.empty() ? flags.model : flags.shape);
  EnginePtr owner(engine);
  if (flags.verbose) {
    const runnel_model_info info = model_info(engine);
    std::fprintf(
        stderr, "info: %s (%s, %s), %.1f M parameters, %.1f MiB, %s, loaded in %.3f s\n", info.name,
        info.architecture, info.file_type, static_cast<double>(info.n_parameters) / 1e6,
        static_cast<double>(info.weight_bytes) / 1048576.0, info.backend, info.load_seconds);
  }
  return owner;
}

SessionPtr open_session(runnel_engine* engine, const ModelFlags& flags) {
  const runnel_session_options options = session_options(flags);
  runnel_session* session = nullptr;
  must(runnel_session_create(engine, &options, &session));
  SessionPtr owned(session);
  if (flags.prompt_cache.empty()) return owned;
  const runnel_status loaded = runnel_session_load(session, flags.prompt_cache.c_str(), nullptr);
  if (loaded != RUNNEL_ERROR_NOT_FOUND) must(loaded);
  return owned;
}

runnel_model_info model_info(const runnel_engine* engine) {
  runnel_model_info info;
  runnel_model_info_init(&info);
  must(runnel_engine_info(engine, &info));
  return info;
}

std::string bundled_model() {
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const char* folder : {"../share/runnel", "../models", "models"}) {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(program / folder, ignored))
      if (entry.path().extension() == ".gguf")
        found.push_back(entry.path().lexically_normal().string());
    if (!found.empty()) return *std::ranges::min_element(found);
  }
  fail(Exit::usage, "no bundled model found beside the program: name one with -m FILE");
}

std::vector<std::int32_t> tokenize(const runnel_engine* engine,
                                   std::string_view text,
                                   std::uint32_t flags) {
  std::size_t n = 0;
  std::vector<std::int32_t> ids(text.size() +
                                2);  // never more tokens than bytes, BOS and one spare
  must(runnel_tokenize(engine, text.data(), text.size(), flags, ids.data(), ids.size(), &n));
  ids.resize(n);
  return ids;
}

std::string read_file(const std::string& path) {
  if (path == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
  std::ifstream in(path, std::ios::binary);
  if (!in || fs::is_directory(path)) fail(Exit::bad_input, "cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace runnel::app
