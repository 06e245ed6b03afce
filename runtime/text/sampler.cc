#include "runtime/text/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <string_view>
#include <unordered_map>

#include "runtime/text/sampler_chain.h"
#include "runtime/text/sampler_random.h"

namespace runnel {
namespace {

constexpr float kHighestLogit = std::numeric_limits<float>::max();

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", value);
  return text;
}

struct Range {
  std::string_view name;
  double value;
  double low;
  double high;
};

Status check_range(const Range& range) {
  if (range.value >= range.low && range.value <= range.high) return {};  // false for NaN
  return {Code::invalid_argument, std::string(range.name) + " must be between " +
                                      number(range.low) + " and " + number(range.high) + ", got " +
                                      number(range.value)};
}

/// breakers[id] is true for the tokens that end a repetition.
std::vector<bool> breaker_tokens(const std::vector<std::string>& texts,
                                 const Tokenizer& tokenizer) {
  std::vector<bool> breakers(static_cast<std::size_t>(tokenizer.n_vocab()));
  for (const std::string& text : texts) {
    if (text.empty()) continue;
    bool found = false;
    for (TokenId id = 0; id < tokenizer.n_vocab(); ++id) {
      if (tokenizer.bytes(id).find(text) == std::string_view::npos) continue;
      breakers[static_cast<std::size_t>(id)] = true;
      found = true;
    }
    if (found) continue;
    const std::vector<TokenId> ids = tokenizer.encode(text, {});
    if (!ids.empty()) breakers[static_cast<std::size_t>(ids.back())] = true;
  }
  return breakers;
}

}  // namespace

Status validate(const SamplingParams& params) {
  constexpr double kHuge = static_cast<double>(1e30f);  // keeps all later arithmetic finite
  constexpr double kMaxInt = std::numeric_limits<std::int32_t>::max();
  const Range ranges[] = {
      {"temperature", params.temperature, 0, kHuge},
      {"top_k", static_cast<double>(params.top_k), 0, kMaxInt},
      {"top_p", params.top_p, 0, 1},
      {"min_p", params.min_p, 0, 1},
      {"typical_p", params.typical_p, 0, 1},
      {"xtc_probability", params.xtc_probability, 0, 1},
      {"xtc_threshold", params.xtc_threshold, 0, 1},
      {"dry_multiplier", params.dry_multiplier, 0, kHuge},
      {"dry_base", params.dry_base, 1, kHuge},
      {"dry_allowed_length", static_cast<double>(params.dry_allowed_length), 0, kMaxInt},
      {"dry_last_n", static_cast<double>(params.dry_last_n), -1, kMaxInt},
      {"repeat_penalty", params.repeat_penalty, 1e-6, 1e6},
      {"presence_penalty", params.presence_penalty, -kHuge, kHuge},
      {"frequency_penalty", params.frequency_penalty, -kHuge, kHuge},
      {"penalty_last_n", static_cast<double>(params.penalty_last_n), -1, kMaxInt},
      {"mirostat_tau", params.mirostat_tau, 0, 1000},
      {"mirostat_eta", params.mirostat_eta, 0, 1000},
  };
  for (const Range& range : ranges) RUNNEL_TRY(check_range(range));
  for (const auto& [id, bias] : params.logit_bias) {
    if (id < 0) return {Code::invalid_argument, "logit_bias names the token " + std::to_string(id)};
    if (std::isnan(bias)) {
      return {Code::invalid_argument, "logit_bias of token " + std::to_string(id) + " is NaN"};
    }
  }
  return {};
}

struct Sampler::Impl {
  explicit Impl(SamplingParams given) : params(std::move(given)), random(params.seed) {}

  void reset();
  void forget();
  void accept(TokenId id);
  bool changes_logits() const;
  void apply_penalties();
  void apply_dry();
  TokenId pick();

  SamplingParams params;
  Random random;
  double mu = 0.0;  // mirostat: highest surprise allowed, bits
  std::vector<bool> breakers;
  std::vector<TokenId> history;
  std::unordered_map<TokenId, std::int32_t> counts;  // occurrences in the penalty window
  std::vector<float> logits;                         // scratch: logits after bias and penalties
  sampling::Candidates candidates;                   // scratch
  sampling::RepeatFinder repeats;
};

void Sampler::Impl::reset() {
  random = Random(params.seed);
  mu = 2.0 * static_cast<double>(params.mirostat_tau);
  forget();
}

void Sampler::Impl::forget() {
  history.clear();
  counts.clear();
}

void Sampler::Impl::accept(TokenId id) {
  check(id >= 0, "Sampler::accept: negative token id");
  history.push_back(id);
  const std::int32_t window = params.penalty_last_n;
  if (window == 0) return;
  ++counts[id];
  if (window < 0 || history.size() <= static_cast<std::size_t>(window)) return;
  const TokenId gone = history[history.size() - 1 - static_cast<std::size_t>(window)];
  const auto entry = counts.find(gone);
  if (--entry->second == 0) counts.erase(entry);
}

bool Sampler::Impl::changes_logits() const {
  const bool penalties = params.repeat_penalty != 1.0f || params.presence_penalty != 0.0f ||
                         params.frequency_penalty != 0.0f;
  return !params.logit_bias.empty() || (penalties && !counts.empty()) ||
         params.dry_multiplier > 0.0f;
}

void Sampler::Impl::apply_penalties() {
  for (const auto& [id, bias] : params.logit_bias) {
    const auto index = static_cast<std::size_t>(id);
    if (index < logits.size()) logits[index] += bias;
  }
  for (const auto& [id, count] : counts) {  // the order does not matter: each id occurs once
    const auto index = static_cast<std::size_t>(id);
    if (index >= logits.size()) continue;
    float& logit = logits[index];
    logit = logit > 0.0f ? logit / params.repeat_penalty : logit * params.repeat_penalty;
    logit -= static_cast<float>(count) * params.frequency_penalty + params.presence_penalty;
  }
}

void Sampler::Impl::apply_dry() {
  if (params.dry_multiplier <= 0.0f || params.dry_last_n == 0) return;
  std::span<const TokenId> seen = history;
  if (params.dry_last_n > 0 && static_cast<std::size_t>(params.dry_last_n) < seen.size()) {
    seen = seen.last(static_cast<std::size_t>(params.dry_last_n));
  }
  const std::int32_t allowed = params.dry_allowed_length;
  for (const auto& match : repeats.find(seen, breakers, std::max(allowed, 1))) {
    const auto index = static_cast<std::size_t>(match.id);
    if (index >= logits.size()) continue;
    const double power = std::pow(static_cast<double>(params.dry_base), match.length - allowed);
    const double penalty = static_cast<double>(params.dry_multiplier) * power;
    logits[index] -= static_cast<float>(std::min(penalty, static_cast<double>(kHighestLogit)));
  }
}

TokenId Sampler::Impl::pick() {
  auto& items = candidates.items;
  items.clear();
  items.reserve(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i])) continue;
    items.push_back({static_cast<TokenId>(i), std::min(logits[i], kHighestLogit), 0.0});
  }
  if (items.empty()) return 0;
  if (params.mirostat_tau > 0.0f) {
    sampling::softmax(items, params.temperature);
    return sampling::mirostat(&candidates, params.mirostat_tau, params.mirostat_eta, &mu, &random);
  }
  const auto n_vocab = static_cast<std::int64_t>(items.size());
  if (params.top_k > 0 && params.top_k < n_vocab) sampling::top_k(&candidates, params.top_k);
  if (params.typical_p < 1.0f) sampling::typical(&candidates, params.typical_p);
  if (params.top_p < 1.0f) sampling::top_p(&candidates, params.top_p);
  if (params.min_p > 0.0f) sampling::min_p(&candidates, params.min_p);
  if (params.xtc_probability > 0.0f) {
    sampling::exclude_top(&candidates, params.xtc_probability, params.xtc_threshold, &random);
  }
  sampling::softmax(items, params.temperature);
  return items[sampling::draw(items, &random)].id;
}

Sampler::Sampler(SamplingParams params, const Tokenizer* tokenizer)
    : impl_(std::make_unique<Impl>(std::move(params))) {
  const Status valid = validate(impl_->params);
  check(valid.ok(), valid.message());
  if (tokenizer != nullptr && impl_->params.dry_multiplier > 0.0f) {
    impl_->breakers = breaker_tokens(impl_->params.dry_breakers, *tokenizer);
  }
  impl_->reset();
}

Sampler::~Sampler() = default;
Sampler::Sampler(Sampler&&) noexcept = default;
Sampler& Sampler::operator=(Sampler&&) noexcept = default;

void Sampler::reset() {
  impl_->reset();
}

void Sampler::forget() {
  impl_->forget();
}

void Sampler::accept(TokenId id) {
  impl_->accept(id);
}

TokenId Sampler::sample(std::span<const float> logits) {
  check(!logits.empty(), "Sampler::sample: no logits");
  if (takes_highest()) return sampling::argmax(logits);
  impl_->logits.assign(logits.begin(), logits.end());
  if (impl_->changes_logits()) {
    impl_->apply_penalties();
    impl_->apply_dry();
  }
  return impl_->params.temperature == 0.0f ? sampling::argmax(impl_->logits) : impl_->pick();
}

bool Sampler::takes_highest() const {
  return impl_->params.temperature == 0.0f && !impl_->changes_logits();
}

}  // namespace runnel
