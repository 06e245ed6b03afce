#include "runtime/session/session.h"

#include <algorithm>

namespace runnel {
namespace {

ShapeClass class_for(std::int64_t n_tokens, bool all_logits) {
  if (n_tokens == 1) return ShapeClass::decode;
  if (all_logits) return ShapeClass::score;
  return n_tokens <= kShapeClasses[static_cast<std::size_t>(ShapeClass::verify)].max_tokens
             ? ShapeClass::verify
             : ShapeClass::prefill;
}

std::int64_t max_tokens(ShapeClass shape) {
  return kShapeClasses[static_cast<std::size_t>(shape)].max_tokens;
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
  const std::int64_t largest = max_tokens(ShapeClass::prefill);
  if (checked.prefill_chunk == 0) checked.prefill_chunk = largest;
  if (checked.prefill_chunk < 1 || checked.prefill_chunk > largest)
    return Status(Code::invalid_argument, "prefill chunk must be in 1.." + std::to_string(largest));
  checked.kv = engine.usable_kv(checked.kv);
  std::unique_ptr<Session> session(new Session(engine, checked));
  RUNNEL_ASSIGN(session->cache_, engine.new_cache(checked.context_size, checked.kv));
  session->logits_.resize(static_cast<std::size_t>(engine.model().config.n_vocab));
  session->pending_.reserve(static_cast<std::size_t>(checked.context_size));
  session->set_sampling(engine.suggested_sampling());
  return session;
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
  cache_->truncate(n);
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
  if (static_cast<std::int64_t>(ids.size()) > cache_->capacity())
    return Status(Code::context_full, std::to_string(ids.size()) +
                                          " tokens do not fit a context of " +
                                          std::to_string(cache_->capacity()));
  const auto n = static_cast<std::int64_t>(ids.size());
  std::int64_t kept = cache_->match_prefix(ids);
  if (kept == n && cache_->size() == n && have_logits_) return kept;
  kept = std::min(kept, n - 1);  // the last token is computed again for its logits
  RUNNEL_TRY(truncate(kept));
  RUNNEL_TRY(append(ids.subspan(static_cast<std::size_t>(kept))));
  return kept;
}

Status Session::advance(std::span<const TokenId> ids, const OnRows* on_rows) {
  RUNNEL_TRY(check_ids(ids));
  const std::int64_t first_new = cache_->size();
  const std::int64_t first = cache_->resume_from();
  RUNNEL_TRY(cache_->reserve(first_new + static_cast<std::int64_t>(ids.size())));
  have_logits_ = false;
  const std::span<const TokenId> replay = cache_->tokens().subspan(static_cast<std::size_t>(first));
  pending_.assign(replay.begin(), replay.end());
  pending_.insert(pending_.end(), ids.begin(), ids.end());
  const std::int64_t chunk = on_rows
                                 ? std::min(options_.prefill_chunk, max_tokens(ShapeClass::score))
                                 : options_.prefill_chunk;
  for (std::size_t at = 0; at < pending_.size();) {
    if (take_cancel()) return Status(Code::cancelled, "cancelled");
    const std::size_t n = std::min(pending_.size() - at, static_cast<std::size_t>(chunk));
    RUNNEL_TRY(step(std::span(pending_).subspan(at, n), on_rows, first_new));
    at += n;
  }
  have_logits_ = true;
  return {};
}

Status Session::step(std::span<const TokenId> ids, const OnRows* on_rows, std::int64_t first_new) {
  const std::int64_t first = cache_->resume_from();
  const auto n = static_cast<std::int64_t>(ids.size());
  const StepParams params{static_cast<std::int32_t>(first), static_cast<std::int32_t>(n),
                          static_cast<std::int32_t>(cache_->kv_keep()),
                          static_cast<std::int32_t>(cache_->kv_sealed())};
  const ShapeClass shape = class_for(n, on_rows != nullptr);
  const bool all = kShapeClasses[static_cast<std::size_t>(shape)].logits == LogitsMode::all;
  if (all) rows_.resize(static_cast<std::size_t>(n) * logits_.size());
  Status ran = engine_.run(shape, options_.kv, params, cache_->table(), ids,
                           all ? std::span(rows_) : std::span(logits_));
  if (!ran.ok()) {
    cache_->abandon_step(first + n);
    return ran;
  }
  cache_->commit(first, ids);
  if (!history_stale_)
    for (std::int64_t i = std::max<std::int64_t>(0, first_new - first); i < n; ++i)
      sampler_->accept(ids[static_cast<std::size_t>(i)]);
  if (all)
    std::copy(rows_.end() - static_cast<std::ptrdiff_t>(logits_.size()), rows_.end(),
              logits_.begin());
  if (on_rows == nullptr) return {};
  const std::int64_t skip = std::clamp<std::int64_t>(first_new - first, 0, n);  // replayed rows
  if (skip == n) return {};
  const std::span<const float> made =
      all ? std::span<const float>(rows_) : std::span<const float>(logits_);
  const bool more = (*on_rows)(first + skip - first_new, n - skip,
                               made.subspan(static_cast<std::size_t>(skip) * logits_.size()));
  return more ? Status{} : Status(Code::cancelled, "stopped by the callback");
}

std::span<const float> Session::logits() const {
  return have_logits_ ? std::span<const float>(logits_) : std::span<const float>();
}

void Session::set_sampling(SamplingParams params) {
  sampler_ = std::make_unique<Sampler>(std::move(params), engine_.tokenizer());
  history_stale_ = true;
}

void Session::refresh_history() {
  if (!history_stale_) return;
  sampler_->forget();
  for (TokenId id : cache_->tokens()) sampler_->accept(id);
  history_stale_ = false;
}

Result<TokenId> Session::sample() {
  if (!have_logits_) return Status(Code::invalid_argument, "no logits: append tokens first");
  refresh_history();
  return sampler_->sample(logits_);
}

}  // namespace runnel
