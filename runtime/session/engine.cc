#include "runtime/session/engine.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "runtime/session/fingerprint.h"
#include "runtime/session/offload.h"
#include "runtime/session/suggested.h"

namespace runnel {
namespace {

BuildOptions build_options(ShapeClass shape, const quant::KvPolicy& kv) {
  const ShapeClassInfo& row = kShapeClasses[static_cast<std::size_t>(shape)];
  return {row.max_tokens, kv, row.logits, kRollbackColumns};
}

/// The memory that each state lives in.
std::vector<int> state_domains(const PlanLayout& layout) {
  std::vector<int> domains;
  for (const std::size_t backend : state_backends(layout))
    domains.push_back(layout.domain_of_backend[backend]);
  return domains;
}

/// How often a plan is laid out anew because a kernel does not work on its device.
constexpr int kMostLayouts = 8;

/// A tenth is left to other plans, drivers and whoever else uses the device.
std::size_t usable_bytes(const Backend& device) {
  return device.free_bytes() / 10 * 9;
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

Status Engine::make_backends() {
  RUNNEL_ASSIGN(backends_,
                create_backends(options_.backend,
                                {options_.n_threads, options_.n_prefill_threads, options_.log}));
  for (const auto& backend : backends_) backend_list_.push_back(backend.get());
  RUNNEL_ASSIGN(n_device_layers_, fitting_layers());
  RUNNEL_ASSIGN(largest_, largest_class());
  return {};
}

Result<ShapeClass> Engine::largest_class() const {
  const Backend& device = *backends_.front();
  const ShapeClassInfo& row = kShapeClasses[static_cast<std::size_t>(ShapeClass::long_prefill)];
  if (device.step_tokens() < row.max_tokens || n_device_layers_ < std::ssize(model_.config.layers))
    return ShapeClass::prefill;
  if (device.uses_host_memory()) return ShapeClass::long_prefill;
  RUNNEL_ASSIGN(const PlanLayout most,
                layout(ShapeClass::long_prefill, quant::plain_kv(DType::f16), n_device_layers_));
  const std::size_t bytes = device_bytes(most, backend_list_, default_context());
  return bytes <= usable_bytes(device) ? ShapeClass::long_prefill : ShapeClass::prefill;
}

Result<std::int64_t> Engine::fitting_layers() const {
  const auto n_layers = static_cast<std::int64_t>(model_.config.layers.size());
  const Backend& device = *backends_.front();
  if (device.uses_host_memory()) return n_layers;
  if (options_.gpu_layers >= 0) return std::min<std::int64_t>(n_layers, options_.gpu_layers);
  const std::size_t free = usable_bytes(device);
  for (std::int64_t n = n_layers; n > 0; --n) {
    std::size_t bytes = 0;
    for (const ShapeClass shape : {ShapeClass::decode, ShapeClass::prefill}) {
      RUNNEL_ASSIGN(const PlanLayout fitted, layout(shape, quant::plain_kv(DType::f16), n));
      bytes = std::max(bytes, device_bytes(fitted, backend_list_, default_context()));
    }
    if (bytes > free) continue;
    if (n < n_layers)
      options_.log(LogLevel::warn, "device layers=", n, " of ", n_layers, ": ", free,
                   " bytes of device memory are free");
    return n;
  }
  options_.log(LogLevel::warn, "device layers=0: ", free, " bytes of device memory are free");
  return 0;
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
  RUNNEL_TRY(make_backends());
  const quant::KvPolicy plain = quant::plain_kv(DType::f16);
  RUNNEL_ASSIGN(const PlanLayout decode,
                layout(ShapeClass::decode, plain, n_device_layers_, options_.log));
  reported_.insert(plain);
  if (!backends_.front()->uses_host_memory())  // kernels of a prompt, while weights are placed
    RUNNEL_TRY(expect(ShapeClass::prefill, plain));
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

Result<PlanLayout> Engine::layout(ShapeClass shape,
                                  const quant::KvPolicy& kv,
                                  std::int64_t n_device_layers,
                                  const Log& log) const {
  RUNNEL_ASSIGN(Graph graph, build_graph(model_, build_options(shape, kv)));
  if (options_.on_activations) keep_product_inputs(graph);
  if (options_.on_attention) keep_attention_inputs(graph);
  const auto n_layers = static_cast<std::int64_t>(model_.config.layers.size());
  return plan_layout(std::move(graph), backend_list_,
                     {options_.fallback, log, meant_by_layer(n_layers, n_device_layers)});
}

Result<MemoryPlan> Engine::plan_memory(GgufFile file,
                                       const EngineOptions& options,
                                       std::int64_t capacity,
                                       const quant::KvPolicy& kv) {
  RUNNEL_ASSIGN(Model model, Model::load(std::move(file)));
  Engine engine(std::move(model), options);
  RUNNEL_TRY(engine.make_backends());
  if (capacity == 0) capacity = engine.default_context();
  MemoryPlan plan;
  plan.mapped = static_cast<std::size_t>(engine.model_.file.file_bytes());
  plan.other = other_bytes(engine.model_);
  plan.prefixes = options.prefixes.bytes;
  for (const ShapeClass shape :
       {ShapeClass::decode, ShapeClass::verify, ShapeClass::prefill, ShapeClass::long_prefill}) {
    if (shape > engine.largest_) continue;
    RUNNEL_ASSIGN(const PlanLayout layout,
                  engine.layout(shape, engine.usable_kv(kv), engine.n_device_layers_));
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

void Engine::expect(const PlanLayout& layout) {
  for (const LayoutSegment& segment : layout.segments)
    backend_list_[static_cast<std::size_t>(segment.backend)]->expect(
        layout.graph,
        std::span(layout.graph.nodes()).subspan(segment.first, segment.last - segment.first));
}

Status Engine::expect(ShapeClass shape, const quant::KvPolicy& kv) {
  RUNNEL_ASSIGN(const PlanLayout soon, layout(shape, kv, n_device_layers_));
  expect(soon);
  return {};
}

Result<std::unique_ptr<Plan>> Engine::new_plan(ShapeClass shape, const quant::KvPolicy& kv) {
  RUNNEL_ASSIGN(const PlanLayout decode, layout(ShapeClass::decode, kv, n_device_layers_));
  // A kernel may turn out not to work here when it is compiled: then another backend runs the node.
  for (int n_left = kMostLayouts;; --n_left) {
    const Log log = n_left == kMostLayouts ? Log{} : options_.log;
    RUNNEL_ASSIGN(PlanLayout compiled, layout(shape, kv, n_device_layers_, log));
    if (!std::ranges::equal(state_domains(compiled), state_domains(decode)))
      return Status(Code::internal,
                    "steps of different sizes keep their states on different backends");
    const std::size_t n_nodes = compiled.graph.nodes().size();
    Result<std::unique_ptr<Plan>> made =
        Plan::create(std::move(compiled), backend_list_, *weights_);
    if (!made.ok() && made.status().code() == Code::unsupported && n_left > 0) continue;
    if (!made.ok()) return made;
    options_.log(LogLevel::debug, "plan=compiled max_tokens=",
                 kShapeClasses[static_cast<std::size_t>(shape)].max_tokens, " nodes=", n_nodes);
    expect(decode);  // the answer's kernels, while the prompt is computed
    return made;
  }
}

Result<Plan*> Engine::plan(ShapeClass shape, const quant::KvPolicy& kv) {
  std::unique_ptr<Plan>& slot = plans_[{shape, kv}];
  if (slot == nullptr) {
    RUNNEL_ASSIGN(slot, new_plan(shape, kv));
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
  const std::lock_guard lock(mutex_);
  const Log log = reported_.insert(kv).second ? options_.log : Log{};
  RUNNEL_ASSIGN(const PlanLayout decode, layout(ShapeClass::decode, kv, n_device_layers_, log));
  return Cache::create(
      decode.graph, {backend_list_, state_backends(decode)},
      {capacity, model_.config.conv_kernel, model_.config.n_conv_layers(), shift, kv});
}

/// Saves the logits that another session left in a plan from being overwritten.
Status Engine::fetch_left() {
  const auto [logits, plan] = std::exchange(left_, {});
  if (logits == nullptr) return {};
  logits->values.resize(static_cast<std::size_t>(model_.config.n_vocab));
  Status read = plan->read_output("logits", 1, std::as_writable_bytes(std::span(logits->values)));
  if (!read.ok()) logits->values.clear();
  return read;
}

Result<Plan*> Engine::compute(ShapeClass shape,
                              const quant::KvPolicy& kv,
                              const StepParams& params,
                              const StateTable& states,
                              std::span<const TokenId> ids) {
  RUNNEL_TRY(fetch_left());
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
  return compiled;
}

Status Engine::run(ShapeClass shape,
                   const quant::KvPolicy& kv,
                   const StepParams& params,
                   const StateTable& states,
                   std::span<const TokenId> ids,
                   LastLogits& logits) {
  const std::lock_guard lock(mutex_);
  if (left_.logits == &logits) left_ = {};  // nobody asked for them
  logits.top = -1;
  RUNNEL_ASSIGN(Plan* const compiled, compute(shape, kv, params, states, ids));
  RUNNEL_TRY(compiled->read_output("top", 1, std::as_writable_bytes(std::span(&logits.top, 1))));
  left_ = {&logits, compiled};
  return {};
}

Status Engine::run(ShapeClass shape,
                   const quant::KvPolicy& kv,
                   const StepParams& params,
                   const StateTable& states,
                   std::span<const TokenId> ids,
                   std::span<float> rows) {
  const std::lock_guard lock(mutex_);
  RUNNEL_ASSIGN(Plan* const compiled, compute(shape, kv, params, states, ids));
  return compiled->read_output("logits", params.n_tokens, std::as_writable_bytes(rows));
}

Status Engine::fetch(LastLogits& logits) {
  const std::lock_guard lock(mutex_);
  if (left_.logits == &logits) return fetch_left();
  return logits.values.empty() ? Status(Code::device_lost, "the logits are lost") : Status();
}

void Engine::forget(const LastLogits& logits) {
  const std::lock_guard lock(mutex_);
  if (left_.logits == &logits) left_ = {};
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
