// C API: engine, devices, memory plan.
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "quant/mix.h"
#include "runtime/api/error.h"
#include "runtime/api/handles.h"
#include "runtime/models/synthetic.h"

using namespace runnel;  // NOLINT: a file of extern "C" functions
using runnel::api::guarded;
using runnel::api::missing;

namespace {

Log make_log(const runnel_engine_options& options) {
  if (options.on_log == nullptr) return {};
  return Log(
      [callback = options.on_log, user = options.log_user](LogLevel level, std::string_view line) {
        callback(user, static_cast<runnel_log_level>(level), std::string(line).c_str());
      },
      static_cast<LogLevel>(options.log_level));
}

Result<GgufFile> open_model(const runnel_engine_options& options) {
  const int sources = (options.model_path != nullptr) + (options.model_data != nullptr) +
                      (options.synthetic_shape != nullptr);
  if (sources != 1)
    return Status(Code::invalid_argument,
                  "exactly one of model_path, model_data and synthetic_shape must be set");
  if (options.model_path != nullptr) return GgufFile::open(options.model_path);
  if (options.model_data != nullptr)
    return GgufFile::parse(
        {static_cast<const std::byte*>(options.model_data), options.model_bytes});
  const char* type = options.synthetic_type != nullptr ? options.synthetic_type : "q4_0";
  RUNNEL_ASSIGN(std::vector<std::byte> image, make_synthetic_model(options.synthetic_shape, type));
  return GgufFile::own(std::move(image));
}

ActivationObserver make_observer(runnel_activations_callback callback, void* user) {
  return [callback, user](const Activations& seen) {
    runnel_activations c{};
    c.size = sizeof c;
    const std::string weight(seen.weight);
    c.weight = weight.c_str();
    c.n_rows = static_cast<int32_t>(seen.n_rows);
    c.n_in = static_cast<int32_t>(seen.n_in);
    c.rows = seen.rows;
    c.n_matrices = static_cast<int32_t>(seen.n_matrices);
    c.n_per_row = static_cast<int32_t>(seen.n_per_row);
    c.matrices = seen.matrices;
    return callback(user, &c) != 0;
  };
}

AttentionObserver make_observer(runnel_attention_callback callback, void* user) {
  return [callback, user](const AttentionInputs& seen) {
    runnel_attention_inputs c{};
    c.size = sizeof c;
    c.layer = static_cast<int32_t>(seen.layer);
    c.n_rows = static_cast<int32_t>(seen.n_rows);
    c.n_kv_heads = static_cast<int32_t>(seen.n_kv_heads);
    c.q = seen.q;
    c.k = seen.k;
    c.v = seen.v;
    return callback(user, &c) != 0;
  };
}

EngineOptions to_engine_options(const runnel_engine_options& options) {
  EngineOptions result;
  if (options.backend != nullptr) result.backend = options.backend;
  result.n_threads = options.n_threads;
  result.n_prefill_threads = options.n_prefill_threads;
  result.gpu_layers = options.gpu_layers;
  result.fallback = options.strict != 0 ? Fallback::error : Fallback::warn;
  result.log = make_log(options);
  constexpr uint64_t kDefaultDirBytes = uint64_t{4} << 30;
  result.prefixes.bytes = options.prefix_bytes;
  if (options.prefix_dir != nullptr) result.prefixes.folder = options.prefix_dir;
  result.prefixes.disk_bytes =
      options.prefix_dir_bytes == 0 ? kDefaultDirBytes : options.prefix_dir_bytes;
  if (options.on_progress != nullptr)
    result.on_progress = [callback = options.on_progress, user = options.progress_user](
                             float done) { return callback(user, done) != 0; };
  if (options.on_activations != nullptr)
    result.on_activations = make_observer(options.on_activations, options.activations_user);
  if (options.on_attention != nullptr)
    result.on_attention = make_observer(options.on_attention, options.attention_user);
  return result;
}

Result<runnel_engine_options> checked_options(const runnel_engine_options* options) {
  runnel_engine_options defaults;
  runnel_engine_options_init(&defaults);
  RUNNEL_ASSIGN(const runnel_engine_options given,
                api::copy_in(options, defaults, "engine options"));
  if (given.n_threads < 0 || given.n_threads > 1024)
    return Status(Code::invalid_argument, "n_threads must be in 0..1024");
  if (given.n_prefill_threads < 0 || given.n_prefill_threads > 1024)
    return Status(Code::invalid_argument, "n_prefill_threads must be in 0..1024");
  if (given.gpu_layers < -1) return Status(Code::invalid_argument, "gpu_layers must be -1 or more");
  if (given.prefix_dir != nullptr && given.prefix_bytes == 0)
    return Status(Code::invalid_argument, "prefix_dir needs prefix_bytes");
  return given;
}

std::string file_type_name(const GgufFile& file) {
  const auto id = file.get_int("general.file_type");
  if (!id.ok() || !(*id).has_value()) return "unknown";
  for (const quant::Recipe& recipe : quant::recipes())
    if (static_cast<std::int64_t>(recipe.gguf_file_type) == **id) return std::string(recipe.name);
  return "unknown";
}

/// Sums over tensors: parameters, bytes, and bytes read to decode one token.
void count_weights(const Model& model, runnel_model_info& info) {
  const bool untied = model.file.tensor("output.weight") != nullptr;
  for (const GgufTensor& tensor : model.file.tensors()) {
    info.n_parameters += static_cast<uint64_t>(tensor.shape.elems());
    info.weight_bytes += tensor.data.size();
    if (tensor.shape.rank == 3 && model.config.n_experts > 0)
      info.bytes_per_token += tensor.data.size() / static_cast<uint64_t>(model.config.n_experts) *
                              static_cast<uint64_t>(model.config.moe.n_used);
    else if (!(untied && tensor.name == "token_embd.weight"))
      info.bytes_per_token += tensor.data.size();
  }
}

}  // namespace

extern "C" {

const char* runnel_version(void) {
  return RUNNEL_VERSION;
}

const char* runnel_status_name(runnel_status status) {
  static const char* const kNames[] = {"ok",           "invalid argument",   "not found",
                                       "corrupt",      "unsupported",        "out of memory",
                                       "device error", "input/output error", "cancelled",
                                       "context full", "internal error"};
  const auto index = static_cast<size_t>(status);
  return index < std::size(kNames) ? kNames[index] : "unknown status";
}

const char* runnel_last_error(void) {
  return api::last_error();
}

void runnel_free(void* memory) {
  std::free(memory);
}

void runnel_engine_options_init_sized(runnel_engine_options* options, size_t size) {
  runnel_engine_options defaults = {};
  defaults.log_level = RUNNEL_LOG_WARN;
  defaults.gpu_layers = -1;
  api::begin(options, size, defaults);
}

runnel_status runnel_engine_create(const runnel_engine_options* options, runnel_engine** engine) {
  return guarded([&]() -> Status {
    if (engine == nullptr) return missing("engine");
    *engine = nullptr;
    if (options == nullptr) return missing("options");
    const auto start = std::chrono::steady_clock::now();
    RUNNEL_ASSIGN(const runnel_engine_options given, checked_options(options));
    RUNNEL_ASSIGN(GgufFile file, open_model(given));
    auto handle = std::make_unique<runnel_engine>();
    RUNNEL_ASSIGN(handle->engine, Engine::create(std::move(file), to_engine_options(given)));
    handle->backend = handle->engine->backend_description();
    handle->file_type = file_type_name(handle->engine->model().file);
    handle->load_seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    *engine = handle.release();
    return {};
  });
}

void runnel_engine_destroy(runnel_engine* engine) {
  delete engine;
}

void runnel_model_info_init_sized(runnel_model_info* info, size_t size) {
  api::begin(info, size);
}

runnel_status runnel_engine_info(const runnel_engine* engine, runnel_model_info* info) {
  return guarded([&]() -> Status {
    if (engine == nullptr) return missing("engine");
    if (info == nullptr) return missing("info");
    const Model& model = engine->engine->model();
    const Tokenizer* tokenizer = engine->engine->tokenizer();
    runnel_model_info full{};
    full.n_vocab = static_cast<int32_t>(model.config.n_vocab);
    full.n_layers = static_cast<int32_t>(model.config.layers.size());
    full.n_attention_layers = static_cast<int32_t>(model.config.n_attention_layers());
    full.d_model = static_cast<int32_t>(model.config.d_model);
    full.context_length = static_cast<int32_t>(model.config.context_length);
    full.bos_token = tokenizer != nullptr ? tokenizer->bos() : -1;
    full.eos_token = tokenizer != nullptr ? tokenizer->eos() : -1;
    full.has_tokenizer = tokenizer != nullptr;
    full.has_chat_template = !engine->engine->template_source().empty();
    count_weights(model, full);
    full.architecture = model.config.architecture.c_str();
    full.name = model.name.c_str();
    full.file_type = engine->file_type.c_str();
    full.backend = engine->backend.c_str();
    full.n_threads = engine->engine->n_threads();
    full.load_seconds = engine->load_seconds;
    full.n_heads = static_cast<int32_t>(model.config.n_heads);
    full.head_dim = static_cast<int32_t>(model.config.head_dim);
    full.rotary_dim = model.config.rope.rotary_dim;
    full.rope_interleaved = model.config.rope.style == RopeStyle::half ? 0 : 1;
    api::copy_out(full, info);
    return {};
  });
}

runnel_status runnel_devices_json(char** json) {
  return guarded([&]() -> Status {
    if (json == nullptr) return missing("json");
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const BackendInfo& row : backend_registry()) {
      nlohmann::ordered_json entry;
      entry["name"] = row.name;
      entry["summary"] = row.summary;
      entry["available"] = row.available();
      if (row.available()) {
        Result<std::unique_ptr<Backend>> backend = row.create({});
        if (backend.ok())
          entry["description"] = (*backend)->description();
        else
          entry["error"] = backend.status().message();
      }
      list.push_back(std::move(entry));
    }
    return api::copy_text(
        list.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace), json);
  });
}

void runnel_memory_plan_init_sized(runnel_memory_plan* plan, size_t size) {
  api::begin(plan, size);
}

runnel_status runnel_plan_memory(const runnel_engine_options* engine_options,
                                 const runnel_session_options* session_options,
                                 runnel_memory_plan* plan) {
  return guarded([&]() -> Status {
    if (engine_options == nullptr) return missing("engine_options");
    if (plan == nullptr) return missing("plan");
    runnel_session_options defaults;
    runnel_session_options_init(&defaults);
    RUNNEL_ASSIGN(const auto session, api::copy_in(session_options, defaults, "session options"));
    RUNNEL_ASSIGN(const runnel_engine_options given, checked_options(engine_options));
    RUNNEL_ASSIGN(GgufFile file, open_model(given));
    RUNNEL_ASSIGN(const quant::KvPolicy kv, api::to_kv_policy(session));
    RUNNEL_ASSIGN(
        const MemoryPlan bytes,
        Engine::plan_memory(std::move(file), to_engine_options(given), session.context_size, kv));
    runnel_memory_plan full{};
    full.mapped_bytes = bytes.mapped;
    full.weight_bytes = bytes.weights;
    full.arena_bytes = bytes.arena;
    full.kv_bytes = bytes.kv;
    full.state_bytes = bytes.state;
    full.other_bytes = bytes.other;
    full.prefix_bytes = bytes.prefixes;
    api::copy_out(full, plan);
    return {};
  });
}

}  // extern "C"
