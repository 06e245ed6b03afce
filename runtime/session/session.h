// Session: one conversation. Owns the cache, sampler and logits; borrows the Engine. One thread at
// a time, except cancel().
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/session/engine.h"

namespace runnel {

/// What happens when the context is full.
enum class ContextPolicy : std::uint8_t {
  stop,   // an error, or the end of a generation
  shift,  // the oldest tokens behind the first ones are dropped (runtime/cache/shift.h)
};

struct SessionOptions {
  std::int64_t context_size = 0;   // tokens; 0 = min(model's, 8192)
  quant::KvPolicy kv;              // falls back to f16 where the model cannot have it
  std::int64_t prefill_chunk = 0;  // tokens per prefill step at most; 0 = what suits the backend
  ContextPolicy policy = ContextPolicy::stop;
  std::int64_t keep_tokens = 0;  // shift: first tokens never dropped, at least one page of them
  bool kv_force = false;         // also a cache that calibration found too harmful
};

enum class StopReason : std::uint8_t { eog, limit, stop_string, callback, cancelled, context_full };

struct GenerateOptions {
  std::int64_t max_tokens = -1;  // -1 = no limit but the context
  std::vector<std::string> stops;
  bool ignore_eog = false;
  bool show_special = false;
  /// Whole UTF-8 characters; false stops. May be empty.
  std::function<bool(const std::string&)> on_text;
};

struct GenerateResult {
  std::int64_t n_prompt = 0, n_reused = 0, n_tokens = 0;
  std::int64_t n_dropped = 0;  // tokens of the session that are not attended any more
  StopReason stop = StopReason::limit;
  double prompt_seconds = 0, generate_seconds = 0;
};

class Session {
 public:
  /// Leaves what it computed to the Engine's prefix store, if there is one.
  ~Session();
  /// ERRORS: invalid_argument (context or chunk size), unsupported (a cache that harms the model),
  /// out_of_memory.
  static Result<std::unique_ptr<Session>> create(Engine& engine, const SessionOptions& options);

  /// A session that holds the same tokens and logits and goes its own way: what either does later
  /// never shows in the other. Pages are shared until one of them writes; the sampling parameters
  /// are the same, the random stream starts anew. ERRORS: out_of_memory, device_lost.
  Result<std::unique_ptr<Session>> fork() const;

  /// Writes tokens, state and logits, with `note` for the caller's use. ERRORS: as save_session().
  Status save(const std::string& path, std::string_view note) const;
  /// Becomes what was saved, computing nothing, and returns the note; the sampling parameters stay,
  /// and the random stream goes on. After an error the session is as it was.
  /// ERRORS: not_found, io; as load_session().
  Result<std::string> load(const std::string& path);

  Engine& engine() const { return engine_; }
  /// Bytes of state held now.
  CacheBytes memory() const { return cache_->held(); }
  std::span<const TokenId> tokens() const { return cache_->tokens(); }
  std::int64_t context_size() const { return cache_->capacity(); }
  /// Of tokens(), those that no longer count, because the context was full.
  std::int64_t n_dropped() const { return cache_->dropped(); }
  /// What its cache holds.
  const quant::KvPolicy& kv() const { return options_.kv; }

  /// Forgets positions >= n; later results are as if they had never been. ERRORS: invalid_argument.
  Status truncate(std::int64_t n);
  /// Appends and computes; logits() are then those of the last token. On cancelled the tokens
  /// computed so far stay. ERRORS: invalid_argument (empty, id out of range), context_full,
  /// cancelled.
  Status append(std::span<const TokenId> ids);
  /// Makes the session hold exactly `ids`, keeping the common prefix, or starting from a longer one
  /// that the Engine's prefix store knows; returns how many tokens were not computed.
  Result<std::int64_t> set_tokens(std::span<const TokenId> ids);
  /// Appends, handing over every row of logits: on_rows(first_row, n_rows, logits [n_rows,
  /// n_vocab]); false stops with cancelled.
  using OnRows = std::function<bool(std::int64_t, std::int64_t, std::span<const float>)>;
  Status evaluate(std::span<const TokenId> ids, const OnRows& on_rows);
  /// [n_vocab], until the next call. ERRORS: invalid_argument when there are none, device_lost.
  Result<std::span<const float>> logits() const;

  /// REQUIRES: validate(params).ok().
  void set_sampling(SamplingParams params);
  /// ERRORS: as logits().
  Result<TokenId> sample();

  /// Goes on from the current logits. Every reason to stop is a result, not an error.
  Result<GenerateResult> generate(const GenerateOptions& options);
  /// Renders, reuses, computes and generates one reply.
  Result<GenerateResult> chat(const nlohmann::ordered_json& messages,
                              const nlohmann::ordered_json& tools,
                              const GenerateOptions& options);
  /// Stops the running or else the next append, evaluate or generate. Any thread.
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }

 private:
  Session(Engine& engine, const SessionOptions& options) : engine_(engine), options_(options) {}
  void set_logits(std::span<const float> values);
  static std::unique_ptr<Session> around(Engine& engine,
                                         const SessionOptions& options,
                                         std::unique_ptr<Cache> cache);
  void adopt_prefix(std::span<const TokenId> ids);
  void leave_prefix();
  Status check_ids(std::span<const TokenId> ids) const;
  Status advance(std::span<const TokenId> ids, const OnRows* on_rows);
  Status step(std::span<const TokenId> ids, const OnRows* on_rows);
  void keep_first(std::int64_t n_tokens);
  std::int64_t system_tokens(const nlohmann::ordered_json& messages,
                             const nlohmann::ordered_json& tools,
                             std::span<const TokenId> ids) const;
  bool take_cancel() { return cancelled_.exchange(false, std::memory_order_relaxed); }
  void refresh_history();

  Engine& engine_;
  SessionOptions options_;
  std::unique_ptr<Cache> cache_;
  std::int64_t shared_end_ = 0;  // tokens that other conversations begin with; 0: unknown
  std::int64_t n_foreign_ = 0;   // first tokens whose state a file said: never for other sessions
  SamplingParams sampling_;
  std::unique_ptr<Sampler> sampler_;
  bool history_stale_ = true;  // the sampler's history must be rebuilt from tokens()
  mutable LastLogits logits_;  // brought here when someone asks
  bool have_logits_ = false;
  std::vector<float> rows_;         // evaluate only
  std::vector<TokenId> pending_;    // ids of the running step
  std::int64_t first_new_ = 0;      // index of the first token of advance() not yet handed over
  std::int64_t first_of_call_ = 0;  // index of its first token
  std::atomic<bool> cancelled_{false};
};

}  // namespace runnel
