#include "runtime/session/engine.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/session/fingerprint.h"
#include "runtime/session/suggested.h"

namespace runnel {
namespace {

Result<const BackendInfo*> find_backend(const std::string& name) {
  std::string known = "auto";
  for (const BackendInfo& row : backend_registry()) {
    known += ", " + std::string(row.name);
    const auto good = row.chosen_by_itself ? row.chosen_by_itself : row.available;
    const bool chosen = name == "auto" ? good() : row.name == name;
    if (!chosen) continue;
    if (row.available()) return &row;
    return Status(Code::unsupported, "backend " + name + " does not work on this machine");
  }
  return Status(Code::invalid_argument, "backend \"" + name + "\" is not one of " + known);
}

BuildOptions build_options(ShapeClass shape, const quant::KvPolicy& kv) {
  const ShapeClassInfo& row = kShapeClasses[static_cast<std::size_t>(shape)];
  return {row.max_tokens, kv, row.logits, kRollbackColumns};
}

/// Upper estimate of what the tokenizer, tables and bookkeeping take.
std::size_t other_bytes(const Model& model) {
  constexpr std::size_t kPerToken = 512, kBase = std::size_t{8} << 20;
  return kBase + kPerToken * static_cast<std::size_t>(model.config.n_vocab);
}

}  // namespace

Engine::Engine(Model model, EngineOptions options)
    : model_(std::move(model)), options_(std::move(options)) {
  weights_ = std::make_unique<WeightStore>([this](const std::string& name) {
    const GgufTensor* tensor = model_.file.tensor(name);
    return tensor == nullptr ? std::span<const std::byte>{} : tensor->data;
  });
}

Result<std::vector<std::unique_ptr<Backend>>> Engine::create_backends(
    const EngineOptions& options) {
  RUNNEL_ASSIGN(const BackendInfo* const chosen, find_backend(options.backend));
  const BackendOptions backend_options{options.n_threads, options.n_prefill_threads, options.log};
  std::vector<std::unique_ptr<Backend>> backends;
  RUNNEL_ASSIGN(std::unique_ptr<Backend> first, chosen->create(backend_options));
  backends.push_back(std::move(first));
  const BackendInfo& fallback = backend_registry().back();
  if (fallback.name != chosen->name) {
    RUNNEL_ASSIGN(std::unique_ptr<Backend> last, fallback.create(backend_options));
    backends.push_back(std::move(last));
  }
  return backends;
}

Result<std::unique_ptr<Engine>> Engine::create(GgufFile file, EngineOptions options) {
  RUNNEL_ASSIGN(Model model, Model::load(std::move(file)));
  std::unique_ptr<Engine> engine(new Engine(std::move(model), std::move(options)));
  RUNNEL_TRY(engine->load_text());
  RUNNEL_TRY(engine->load());
  const PrefixOptions& prefixes = engine->options_.prefixes;
  if (prefixes.bytes > 0)
    engine->prefixes_ = std::make_unique<PrefixStore>(
        prefixes, SessionExpectations{engine->fingerprint(), engine->model_.config.n_vocab},
        engine->options_.log);
  return engine;
}

Status Engine::load_text() {
  Result<Tokenizer> tokenizer = Tokenizer::load(model_.file);
  if (tokenizer.ok())
    tokenizer_ = *std::move(tokenizer);
  else if (tokenizer.status().code() != Code::not_found)
    return tokenizer.status().with_context("tokenizer");
  if (tokenizer_ && tokenizer_->n_vocab() > model_.config.n_vocab)
    return Status(Code::corrupt, "the tokenizer has " + std::to_string(tokenizer_->n_vocab()) +
                                     " tokens, the embedding only " +
                                     std::to_string(model_.config.n_vocab));
  RUNNEL_ASSIGN(const auto source, model_.file.get_string("tokenizer.chat_template"));
  template_source_ = source.value_or("");
  if (!template_source_.empty()) {
    Result<ChatTemplate> parsed = ChatTemplate::parse(template_source_);
    if (parsed.ok())
      template_ = *std::move(parsed);
    else {  // a broken template must not keep anyone from using the model without it
      template_status_ = parsed.status().with_context("chat template");
      options_.log(LogLevel::warn, template_status_.message());
    }
  }
  RUNNEL_ASSIGN(suggested_, read_suggested_sampling(model_.file));
  return {};
}

Status Engine::load() {
  RUNNEL_ASSIGN(backends_, create_backends(options_));
  for (const auto& backend : backends_) backend_list_.push_back(backend.get());
  RUNNEL_ASSIGN(const PlanLayout decode, layout(ShapeClass::decode, quant::plain_kv(DType::f16)));
  const auto total = static_cast<float>(std::max<std::size_t>(1, decode.graph.nodes().size()));
  for (std::size_t i = 0; i < decode.graph.nodes().size(); ++i) {
    const auto b = static_cast<std::size_t>(decode.node_backend[i]);
    for (ValueId id : decode.graph.nodes()[i].in)
      if (decode.graph.value(id).role == Role::weight)
        RUNNEL_TRY(weights_->get(b, *backends_[b], decode.graph.value(id)).status());
    if (options_.on_progress && !options_.on_progress(static_cast<float>(i + 1) / total))
      return Status(Code::cancelled, "loading was stopped");
  }
  options_.log(LogLevel::info, "model=", model_.name, " layers=", model_.config.layers.size(),
               " nodes=", decode.graph.nodes().size(), " backend=", backends_.front()->name());
  return {};
}

Result<PlanLayout> Engine::layout(ShapeClass shape, const quant::KvPolicy& kv) const {
  RUNNEL_ASSIGN(Graph graph, build_graph(model_, build_options(shape, kv)));
  if (options_.on_activations) keep_product_inputs(graph);
  if (options_.on_attention) keep_attention_inputs(graph);
  // Fallbacks are reported once, for the decode plan; the other classes use the same ops.
  CompileOptions compile{options_.fallback, shape == ShapeClass::decode ? options_.log : Log{}};
  return plan_layout(std::move(graph), backend_list_, compile);
}

Result<MemoryPlan> Engine::plan_memory(GgufFile file,
                                       const EngineOptions& options,
                                       std::int64_t capacity,
                                       const quant::KvPolicy& kv) {
  RUNNEL_ASSIGN(Model model, Model::load(std::move(file)));
  Engine engine(std::move(model), options);
  RUNNEL_ASSIGN(engine.backends_, create_backends(options));
  for (const auto& backend : engine.backends_) engine.backend_list_.push_back(backend.get());
  if (capacity == 0) capacity = engine.default_context();
  MemoryPlan plan;
  plan.mapped = static_cast<std::size_t>(engine.model_.file.file_bytes());
  plan.other = other_bytes(engine.model_);
  plan.prefixes = options.prefixes.bytes;
  for (const ShapeClass shape : {ShapeClass::decode, ShapeClass::verify, ShapeClass::prefill}) {
    RUNNEL_ASSIGN(const PlanLayout layout, engine.layout(shape, engine.usable_kv(kv)));
    for (std::size_t bytes : layout.arena_bytes) plan.arena += bytes;
    for (std::size_t bytes : layout.scratch_bytes) plan.arena += bytes;
    if (shape != ShapeClass::decode) continue;
    const CacheBytes cache = Cache::bytes(layout.graph, capacity);
    plan.kv = cache.kv;
    plan.state = cache.conv;
    std::set<std::pair<int, ValueId>> seen;
    for (std::size_t i = 0; i < layout.graph.nodes().size(); ++i)
      for (ValueId id : layout.graph.nodes()[i].in) {
        const Value& value = layout.graph.value(id);
        const int b = layout.node_backend[i];
        if (value.role == Role::weight && seen.emplace(b, id).second)
          plan.weights += engine.backends_[static_cast<std::size_t>(b)]->weight_bytes(value);
      }
  }
  return plan;
}

Result<Ceilings> Engine::measure_ceilings() {
  const std::lock_guard lock(mutex_);
  return backends_.front()->measure_ceilings();
}

Result<StepCost> Engine::cost(const quant::KvPolicy& kv, StepSize size) const {
  RUNNEL_ASSIGN(const Graph graph, build_graph(model_, build_options(ShapeClass::prefill, kv)));
  return step_cost(graph, size);
}

void Engine::start_profile() {
  const std::lock_guard lock(mutex_);
  profiler_.reset();  // before the new one: it stops the plans' clocks
  profiler_ = std::make_unique<Profiler>();
}

ProfileReport Engine::stop_profile() {
  const std::lock_guard lock(mutex_);
  if (profiler_ == nullptr) return {};
  ProfileReport report = profiler_->report();
  profiler_.reset();
  return report;
}

std::uint64_t Engine::fingerprint() {
  std::call_once(fingerprint_once_, [this] { fingerprint_ = model_fingerprint(model_.file); });
  return fingerprint_;
}

std::int64_t Engine::default_context() const {
  constexpr std::int64_t kDefaultContext = 8192;
  return std::min(model_.config.context_length, kDefaultContext);
}

Result<Plan*> Engine::plan(ShapeClass shape, const quant::KvPolicy& kv) {
  std::unique_ptr<Plan>& slot = plans_[{shape, kv}];
  if (slot == nullptr) {
    RUNNEL_ASSIGN(PlanLayout compiled, layout(shape, kv));
    const std::size_t n_nodes = compiled.graph.nodes().size();
    RUNNEL_ASSIGN(slot, Plan::create(std::move(compiled), backend_list_, *weights_));
    options_.log(LogLevel::debug, "plan=compiled max_tokens=",
                 kShapeClasses[static_cast<std::size_t>(shape)].max_tokens, " nodes=", n_nodes);
  }
  return slot.get();
}

quant::KvPolicy Engine::usable_kv(const quant::KvPolicy& kv) const {
  if (!kv.tiled() || model_.config.head_dim % quant::kKvChannels == 0) return kv;
  options_.log(LogLevel::warn, "kv=f16 reason=\"heads of " +
                                   std::to_string(model_.config.head_dim) +
                                   " channels are not made of vectors of 64\"");
  return quant::plain_kv(DType::f16);
}

Result<std::unique_ptr<Cache>> Engine::new_cache(std::int64_t capacity,
                                                 const quant::KvPolicy& kv,
                                                 std::optional<ShiftPlan> shift) {
  RUNNEL_ASSIGN(const Graph graph, build_graph(model_, build_options(ShapeClass::decode, kv)));
  const std::lock_guard lock(mutex_);
  return Cache::create(
      graph, *backends_.front(),
      {capacity, model_.config.conv_kernel, model_.config.n_conv_layers(), shift, kv});
}

Status Engine::run(ShapeClass shape,
                   const quant::KvPolicy& kv,
                   const StepParams& params,
                   const StateTable& states,
                   std::span<const TokenId> ids,
                   std::span<float> logits) {
  const std::lock_guard lock(mutex_);
  RUNNEL_ASSIGN(Plan* const compiled, plan(shape, kv));
  if (profiler_ != nullptr) RUNNEL_TRY(profiler_->watch(*compiled));
  const auto start = std::chrono::steady_clock::now();
  RUNNEL_TRY(compiled->run(params, states, ids));
  if (profiler_ != nullptr)
    profiler_->count(
        *compiled, params,
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  if (options_.on_activations) RUNNEL_TRY(observe(*compiled, params, options_.on_activations));
  if (options_.on_attention)
    RUNNEL_TRY(observe_attention(*compiled, params, model_.config, options_.on_attention));
  const bool all = kShapeClasses[static_cast<std::size_t>(shape)].logits == LogitsMode::all;
  return compiled->read_output("logits", all ? params.n_tokens : 1, logits);
}

Result<std::string> Engine::render_chat(const nlohmann::ordered_json& messages,
                                        const nlohmann::ordered_json& tools,
                                        bool add_generation_prompt) const {
  if (!template_status_.ok()) return template_status_;
  if (!template_) return Status(Code::not_found, "the model has no chat template");
  const auto text_of = [&](TokenId id) {
    return tokenizer_ && id >= 0 ? std::string(tokenizer_->bytes(id)) : std::string();
  };
  nlohmann::ordered_json variables;
  variables["messages"] = messages;
  variables["tools"] = tools;
  variables["add_generation_prompt"] = add_generation_prompt;
  variables["bos_token"] = text_of(tokenizer_ ? tokenizer_->bos() : -1);
  variables["eos_token"] = text_of(tokenizer_ ? tokenizer_->eos() : -1);
  Result<std::string> text = template_->render(variables);
  if (!text.ok()) return text.status().with_context("chat template");
  return text;
}

}  // namespace runnel
