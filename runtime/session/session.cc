#include "runtime/session/session.h"

#include <algorithm>

namespace runnel {
namespace {

std::int64_t max_tokens(ShapeClass shape) {
  return kShapeClasses[static_cast<std::size_t>(shape)].max_tokens;
}

ShapeClass class_for(std::int64_t n_tokens, bool all_logits) {
  if (n_tokens == 1) return ShapeClass::decode;
  if (all_logits) return ShapeClass::score;
  for (const ShapeClass shape : {ShapeClass::verify, ShapeClass::prefill})
    if (n_tokens <= max_tokens(shape)) return shape;
  return ShapeClass::long_prefill;
}

std::int64_t whole_pages(std::int64_t tokens) {
  return tokens / kPageTokens * kPageTokens;
}

ShiftPlan shift_plan(const SessionOptions& options, std::int64_t max_position) {
  const std::int64_t kept = whole_pages(std::max<std::int64_t>(1, options.keep_tokens) - 1);
  return {whole_pages(options.context_size), kept + kPageTokens, max_position};
}

}  // namespace

Result<std::unique_ptr<Session>> Session::create(Engine& engine, const SessionOptions& options) {
  SessionOptions checked = options;
  const std::int64_t most = engine.model().config.context_length;
  if (checked.context_size == 0) checked.context_size = engine.default_context();
  if (checked.context_size < 1 || checked.context_size > most)
    return Status(Code::invalid_argument, "context size " + std::to_string(checked.context_size) +
                                              " is not in 1.." + std::to_string(most) +
                                              ", the model's context length");
  const std::int64_t largest = max_tokens(ShapeClass::long_prefill);
  if (checked.prefill_chunk == 0) checked.prefill_chunk = largest;
  if (checked.prefill_chunk < 1 || checked.prefill_chunk > largest)
    return Status(Code::invalid_argument, "prefill chunk must be in 1.." + std::to_string(largest));
  checked.prefill_chunk = std::min(checked.prefill_chunk, engine.max_step_tokens());
  checked.kv = engine.usable_kv(checked.kv);
  if (checked.kv.streaming && engine.model().kv.streaming.empty())
    return Status(
        Code::unsupported,
        "the model file names no streaming heads (runnel calibrate --find-streaming-heads)");
  if (!checked.kv_force) RUNNEL_TRY(engine.model().kv.check(checked.kv));
  std::optional<ShiftPlan> shift;
  if (checked.policy == ContextPolicy::shift) {
    shift = shift_plan(checked, most);
    if (!shift->valid())
      return Status(Code::invalid_argument, "a context of " + std::to_string(checked.context_size) +
                                                " tokens is too small to shift with " +
                                                std::to_string(checked.keep_tokens) +
                                                " tokens kept");
  }
  RUNNEL_ASSIGN(std::unique_ptr<Cache> cache,
                engine.new_cache(checked.context_size, checked.kv, shift));
  std::unique_ptr<Session> session = around(engine, checked, std::move(cache));
  session->set_sampling(engine.suggested_sampling());
  return session;
}

std::unique_ptr<Session> Session::around(Engine& engine,
                                         const SessionOptions& options,
                                         std::unique_ptr<Cache> cache) {
  std::unique_ptr<Session> session(new Session(engine, options));
  session->cache_ = std::move(cache);
  session->pending_.reserve(static_cast<std::size_t>(engine.max_step_tokens()));
  return session;
}

Result<std::unique_ptr<Session>> Session::fork() const {
  if (have_logits_) RUNNEL_TRY(logits().status());
  const auto lock = engine_.exclusive();
  RUNNEL_ASSIGN(std::unique_ptr<Cache> cache, cache_->fork());
  std::unique_ptr<Session> child = around(engine_, options_, std::move(cache));
  child->logits_ = logits_;
  child->have_logits_ = have_logits_;
  child->n_foreign_ = n_foreign_;
  child->set_sampling(sampling_);
  return child;
}

Status Session::check_ids(std::span<const TokenId> ids) const {
  if (ids.empty()) return Status(Code::invalid_argument, "no tokens to compute");
  const std::int64_t n_vocab = engine_.model().config.n_vocab;
  for (TokenId id : ids)
    if (id < 0 || id >= n_vocab)
      return Status(Code::invalid_argument, "token id " + std::to_string(id) + " is not in 0.." +
                                                std::to_string(n_vocab - 1));
  return {};
}

Status Session::truncate(std::int64_t n) {
  if (n < 0 || n > cache_->size())
    return Status(Code::invalid_argument, "cannot truncate to " + std::to_string(n) + " of " +
                                              std::to_string(cache_->size()) + " tokens");
  if (n == cache_->size()) return {};
  {
    const auto lock = engine_.exclusive();  // it may copy rings back
    cache_->truncate(n);
  }
  n_foreign_ = std::min(n_foreign_, n);
  have_logits_ = false;
  history_stale_ = true;
  return {};
}

Status Session::append(std::span<const TokenId> ids) {
  return advance(ids, nullptr);
}

Status Session::evaluate(std::span<const TokenId> ids, const OnRows& on_rows) {
  return advance(ids, &on_rows);
}

Result<std::int64_t> Session::set_tokens(std::span<const TokenId> ids) {
  RUNNEL_TRY(check_ids(ids));
  if (options_.policy == ContextPolicy::stop &&
      static_cast<std::int64_t>(ids.size()) > cache_->capacity())
    return context_full(std::ssize(ids), cache_->capacity());
  const auto n = static_cast<std::int64_t>(ids.size());
  adopt_prefix(ids);
  std::int64_t kept = cache_->match_prefix(ids);
  if (kept == n && cache_->size() == n && have_logits_) return kept;
  kept = std::min(kept, n - 1);  // the last token is computed again for its logits
  RUNNEL_TRY(truncate(kept));
  const std::int64_t reused = std::min(kept, cache_->next_index());  // after a shift, maybe fewer
  RUNNEL_TRY(append(ids.subspan(static_cast<std::size_t>(kept))));
  leave_prefix();
  return reused;
}

Status Session::advance(std::span<const TokenId> ids, const OnRows* on_rows) {
  RUNNEL_TRY(check_ids(ids));
  const std::int64_t known = cache_->size();
  const std::int64_t end = known + static_cast<std::int64_t>(ids.size());
  if (options_.policy == ContextPolicy::stop && end > cache_->capacity())
    return context_full(end, cache_->capacity());
  have_logits_ = false;
  first_new_ = first_of_call_ = known;
  const std::int64_t chunk = on_rows
                                 ? std::min(options_.prefill_chunk, max_tokens(ShapeClass::score))
                                 : options_.prefill_chunk;
  while (cache_->next_index() < end) {
    if (take_cancel()) return Status(Code::cancelled, "cancelled");
    const std::int64_t dropped = cache_->dropped();
    std::int64_t n = 0;
    {
      const auto lock = engine_.exclusive();
      const bool cut = cache_->next_index() < shared_end_ && shared_end_ < end;
      RUNNEL_ASSIGN(n, cache_->begin_step(cut ? shared_end_ : end, chunk));
    }
    if (cache_->dropped() > dropped)
      engine_.log()(LogLevel::warn, "context full: dropped=", cache_->dropped(),
                    " tokens of=", cache_->size());
    pending_.clear();
    for (std::int64_t slot = cache_->resume_from(); std::ssize(pending_) < n; ++slot) {
      const std::int64_t index = cache_->index_of(slot);
      pending_.push_back(index < cache_->size() ? cache_->tokens()[static_cast<std::size_t>(index)]
                                                : ids[static_cast<std::size_t>(index - known)]);
    }
    RUNNEL_TRY(step(pending_, on_rows));
    if (cache_->next_index() == shared_end_) leave_prefix();
  }
  have_logits_ = true;
  if (ids.size() > 1 && on_rows == nullptr) {  // other replies begin here
    const auto lock = engine_.exclusive();
    cache_->place_anchor();
  }
  return {};
}

Status Session::step(std::span<const TokenId> ids, const OnRows* on_rows) {
  const std::int64_t first = cache_->resume_from();
  const auto n = static_cast<std::int64_t>(ids.size());
  const auto in_step = [](std::int64_t value) { return static_cast<std::int32_t>(value); };
  const StepParams params{in_step(first + cache_->gap()), in_step(n),
                          in_step(cache_->kv_end() + cache_->gap()),
                          in_step(cache_->kv_sealed() + cache_->gap()), in_step(cache_->gap())};
  const ShapeClass shape = class_for(n, on_rows != nullptr);
  const bool all = kShapeClasses[static_cast<std::size_t>(shape)].logits == LogitsMode::all;
  const auto n_vocab = static_cast<std::size_t>(engine_.model().config.n_vocab);
  if (all) rows_.resize(static_cast<std::size_t>(n) * n_vocab);
  Status ran = all ? engine_.run(shape, options_.kv, params, cache_->table(), ids, rows_)
                   : engine_.run(shape, options_.kv, params, cache_->table(), ids, logits_);
  if (!ran.ok()) {
    cache_->abandon_step(first + n);
    return ran;
  }
  cache_->commit(first, ids);
  if (all) set_logits(std::span(rows_).last(n_vocab));
  const std::int64_t end = cache_->index_of(first + n - 1) + 1;
  const std::int64_t n_new = std::clamp<std::int64_t>(end - first_new_, 0, n);
  const std::span<const TokenId> fresh = ids.last(static_cast<std::size_t>(n_new));
  if (!history_stale_)
    for (TokenId id : fresh) sampler_->accept(id);
  const std::int64_t row = first_new_ - first_of_call_;
  first_new_ += n_new;
  if (on_rows == nullptr || n_new == 0) return {};  // replayed
  if (!all) RUNNEL_TRY(engine_.fetch(logits_));
  const std::span<const float> made(all ? rows_ : logits_.values);
  const bool more = (*on_rows)(row, n_new, made.last(static_cast<std::size_t>(n_new) * n_vocab));
  return more ? Status{} : Status(Code::cancelled, "stopped by the callback");
}

void Session::keep_first(std::int64_t n_tokens) {
  if (!cache_->shift_plan()) return;
  n_tokens = std::max(n_tokens, options_.keep_tokens);
  const std::int64_t most = cache_->shift_plan()->slots - kLeastLoose;
  if (n_tokens > most)
    engine_.log()(LogLevel::warn, "context: only ", most, " of the ", n_tokens,
                  " tokens to keep can be kept");
  cache_->set_kept(std::min(n_tokens, most));
}

void Session::set_logits(std::span<const float> values) {
  engine_.forget(logits_);
  logits_.values.assign(values.begin(), values.end());
  logits_.top = -1;
}

Result<std::span<const float>> Session::logits() const {
  if (!have_logits_) return Status(Code::invalid_argument, "no logits: append tokens first");
  RUNNEL_TRY(engine_.fetch(logits_));
  return std::span<const float>(logits_.values);
}

void Session::set_sampling(SamplingParams params) {
  sampling_ = std::move(params);
  sampler_ = std::make_unique<Sampler>(sampling_, engine_.tokenizer());
  history_stale_ = true;
}

void Session::refresh_history() {
  if (!history_stale_) return;
  sampler_->forget();
  for (TokenId id : cache_->tokens()) sampler_->accept(id);
  history_stale_ = false;
}

Result<TokenId> Session::sample() {
  refresh_history();
  if (have_logits_ && logits_.top >= 0 && sampler_->takes_highest()) return logits_.top;
  RUNNEL_ASSIGN(const std::span<const float> values, logits());
  return sampler_->sample(values);
}

}  // namespace runnel
