// Engine: one loaded model, its backends, weights and compiled plans. Shared by sessions,
// thread-safe: steps of different sessions run one after the other.
#pragma once
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "runtime/backend/registry.h"
#include "runtime/cache/cache.h"
#include "runtime/compile/plan.h"
#include "runtime/models/arch.h"
#include "runtime/session/cost.h"
#include "runtime/session/observe.h"
#include "runtime/session/prefix_store.h"
#include "runtime/session/profiler.h"
#include "runtime/text/chat_template.h"
#include "runtime/text/sampler.h"
#include "runtime/text/tokenizer.h"

namespace runnel {

/// Sizes of step a Plan is compiled for; a step uses the smallest class that holds it.
enum class ShapeClass : std::uint8_t { decode, verify, score, prefill, long_prefill, count };
struct ShapeClassInfo {
  std::int64_t max_tokens;
  LogitsMode logits;
};
inline constexpr std::array<ShapeClassInfo, static_cast<std::size_t>(ShapeClass::count)>
    kShapeClasses{{
        {1, LogitsMode::last},
        {8, LogitsMode::last},
        {64, LogitsMode::all},  // logits of every row: small, because a row is n_vocab floats
        {512, LogitsMode::last},
        {2048, LogitsMode::last},  // where max_step_tokens() says so
    }};

/// Columns of conv state kept beyond the L-1 needed: rolling back this far costs nothing.
inline constexpr std::int64_t kRollbackColumns = 8;

struct EngineOptions {
  std::string backend = "auto";  // or a registry name
  int n_threads = 0;             // 0 = default
  int n_prefill_threads = 0;     // for steps of several tokens; 0 = n_threads
  int gpu_layers = -1;  // last layers on a backend with memory of its own; -1: all that fit
  Fallback fallback = Fallback::warn;
  /// Called with 0..1 while weights are placed; false stops loading.
  std::function<bool(float)> on_progress;
  /// Told what every product of every step was multiplied with. Empty: nothing is kept.
  ActivationObserver on_activations;
  PrefixOptions prefixes;
  /// Told what every attention layer over plain rows was given in every step. Empty: nothing is
  /// kept.
  AttentionObserver on_attention;
  Log log;
};

/// Logits of a session's last token. A step leaves them where they were computed; a later step, of
/// whatever session, or Engine::fetch() brings them here. Only `top` may be read before fetch().
struct LastLogits {
  std::vector<float> values;  // [n_vocab]; empty when they were lost with their device
  TokenId top = -1;           // the highest of them, the lowest id among equals; -1: not known
};

/// Peak bytes by class, known before anything is allocated.
struct MemoryPlan {
  std::size_t mapped = 0, weights = 0, arena = 0, kv = 0, state = 0, other = 0, prefixes = 0;
};

class Engine {
 public:
  /// ERRORS: as GgufFile, Model and Backend; cancelled when on_progress says so.
  static Result<std::unique_ptr<Engine>> create(GgufFile file, EngineOptions options);
  /// What create() and one session with `capacity` tokens (0 = default) will take.
  static Result<MemoryPlan> plan_memory(GgufFile file,
                                        const EngineOptions& options,
                                        std::int64_t capacity,
                                        const quant::KvPolicy& kv);

  const Model& model() const { return model_; }
  /// As model_fingerprint(); computed on first use.
  std::uint64_t fingerprint();
  const Tokenizer* tokenizer() const { return tokenizer_ ? &*tokenizer_ : nullptr; }
  /// Source of the chat template; empty when the model has none.
  std::string_view template_source() const { return template_source_; }
  /// The model's suggested sampling, library defaults where it says nothing.
  const SamplingParams& suggested_sampling() const { return suggested_; }
  std::string backend_description() const { return backends_.front()->description(); }
  int n_threads() const { return backends_.front()->n_threads(); }
  /// Tokens that a step may have: of the largest ShapeClass in use.
  std::int64_t max_step_tokens() const {
    return kShapeClasses[static_cast<std::size_t>(largest_)].max_tokens;
  }
  /// What the hardware behind the first backend does at best. ERRORS: as Backend.
  Result<Ceilings> measure_ceilings();
  /// The least work of a step.
  Result<StepCost> cost(const quant::KvPolicy& kv, StepSize size) const;
  /// Takes the time of every node from now on, from zero; then no longer, and says what there was.
  void start_profile();
  ProfileReport stop_profile();
  /// Context a session gets that asks for none: min(the model's, 8192) tokens.
  std::int64_t default_context() const;

  /// No step runs while this is held: to work on caches that may share pages.
  std::unique_lock<std::mutex> exclusive() { return std::unique_lock(mutex_); }
  /// Null when the options gave it no memory. To be used under exclusive().
  PrefixStore* prefixes() { return prefixes_.get(); }
  /// `kv`, or f16 rows with a warning where the model's heads cannot be cut into vectors of 64.
  quant::KvPolicy usable_kv(const quant::KvPolicy& kv) const;
  Result<std::unique_ptr<Cache>> new_cache(std::int64_t capacity,
                                           const quant::KvPolicy& kv,
                                           std::optional<ShiftPlan> shift);
  const Log& log() const { return options_.log; }
  /// Runs one step of a class with LogitsMode::last. `logits` must stay until forget().
  Status run(ShapeClass shape,
             const quant::KvPolicy& kv,
             const StepParams& params,
             const StateTable& states,
             std::span<const TokenId> ids,
             LastLogits& logits);
  /// Runs one step of a class with LogitsMode::all and copies the rows: [n_tokens, n_vocab].
  Status run(ShapeClass shape,
             const quant::KvPolicy& kv,
             const StepParams& params,
             const StateTable& states,
             std::span<const TokenId> ids,
             std::span<float> rows);
  /// Sees to it that `values` hold the logits. ERRORS: device_lost.
  Status fetch(LastLogits& logits);
  /// Leaves `logits` alone from now on, and what a step left of them to its fate.
  void forget(const LastLogits& logits);
  /// Renders messages (JSON array) with the chat template. ERRORS: not_found without a template.
  Result<std::string> render_chat(const nlohmann::ordered_json& messages,
                                  const nlohmann::ordered_json& tools,
                                  bool add_generation_prompt) const;

 private:
  Engine(Model model, EngineOptions options);
  Status make_backends();
  Status load();
  /// Layers for a device: what was asked for, or as many as its memory holds.
  Result<std::int64_t> fitting_layers() const;
  /// ShapeClass::long_prefill where the device wants it and has the memory, else prefill.
  Result<ShapeClass> largest_class() const;
  Status load_text();
  Result<Plan*> plan(ShapeClass shape, const quant::KvPolicy& kv);
  Result<std::unique_ptr<Plan>> new_plan(ShapeClass shape, const quant::KvPolicy& kv);
  /// Backends may begin to compile the kernels of such a plan in the background.
  void expect(const PlanLayout& layout);
  Status expect(ShapeClass shape, const quant::KvPolicy& kv);
  Result<Plan*> compute(ShapeClass shape,
                        const quant::KvPolicy& kv,
                        const StepParams& params,
                        const StateTable& states,
                        std::span<const TokenId> ids);
  Status fetch_left();
  Result<PlanLayout> layout(ShapeClass shape,
                            const quant::KvPolicy& kv,
                            std::int64_t n_device_layers,
                            const Log& log = {}) const;

  Model model_;
  EngineOptions options_;
  std::once_flag fingerprint_once_;
  std::uint64_t fingerprint_ = 0;
  std::optional<Tokenizer> tokenizer_;
  std::string template_source_;
  std::optional<ChatTemplate> template_;
  Status template_status_;
  SamplingParams suggested_;
  std::vector<std::unique_ptr<Backend>> backends_;
  std::vector<Backend*> backend_list_;
  std::int64_t n_device_layers_ = 0;  // all, where the first backend uses host memory
  ShapeClass largest_ = ShapeClass::prefill;
  std::unique_ptr<WeightStore> weights_;
  std::mutex mutex_;  // guards weights_, plans_, left_ and every step
  std::map<std::pair<ShapeClass, quant::KvPolicy>, std::unique_ptr<Plan>> plans_;
  /// Logits that the last step left in its plan; null: none.
  struct {
    LastLogits* logits = nullptr;
    const Plan* plan = nullptr;
  } left_;
  /// Caches whose fallbacks were logged: once, for the decode plan; other plans use the same ops.
  std::set<quant::KvPolicy> reported_;
  std::unique_ptr<PrefixStore> prefixes_;  // goes before the backends
  std::unique_ptr<Profiler> profiler_;     // null: no profile is taken; goes before the plans
};

}  // namespace runnel
