// Picks the next token from logits. One Sampler per conversation, used by one thread at a time;
// deterministic for a given seed. The stages themselves are in sampler_chain.h.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/text/tokenizer.h"

namespace runnel {

/// Everything is off by default but temperature. The chain runs in this order:
///   logit bias, penalties (repeat, then frequency and presence), DRY, top-k, typical, top-p,
///   min-p, XTC, temperature, draw.
/// temperature 0 = the highest logit after bias, penalties and DRY, the lowest id among equals;
/// the other stages are then skipped. With mirostat_tau > 0 the stages after DRY are replaced by
/// temperature, mirostat v2, draw. Every stage keeps at least one token. Sets are built from the
/// highest logit down, the lowest id first among equals.
struct SamplingParams {
  float temperature = 0.8f;
  std::int32_t top_k = 0;        // 0 = off; more than the vocabulary = off
  float top_p = 1.0f;            // 1 = off; smallest set of tokens that reaches this probability
  float min_p = 0.0f;            // 0 = off; drops tokens below min_p * the highest probability
  float typical_p = 1.0f;        // 1 = off
  float xtc_probability = 0.0f;  // 0 = off; chance per token that XTC acts
  float xtc_threshold = 0.1f;    // XTC drops all but the least likely token at or above this
  float dry_multiplier = 0.0f;   // 0 = off
  float dry_base = 1.75f;
  std::int32_t dry_allowed_length = 2;  // repeats shorter than this many tokens cost nothing
  std::int32_t dry_last_n = -1;         // tokens DRY looks at; -1 = whole history, 0 = off
  float repeat_penalty = 1.0f;       // 1 = off; divides positive logits, multiplies negative ones
  float presence_penalty = 0.0f;     // subtracted once from a token that occurred
  float frequency_penalty = 0.0f;    // subtracted once per occurrence
  std::int32_t penalty_last_n = 64;  // tokens the penalties look at; -1 = all, 0 = off
  float mirostat_tau = 0.0f;         // 0 = off (mirostat v2); target surprise in bits
  float mirostat_eta = 0.1f;         // learning rate
  std::uint64_t seed = 0;
  /// Added to the logits; -infinity bans a token. Ids past the vocabulary are ignored.
  std::vector<std::pair<TokenId, float>> logit_bias;
  /// DRY never matches across a token whose text contains one of these; a breaker that no single
  /// token contains counts as the last token of its encoding.
  std::vector<std::string> dry_breakers{"\n", ":", "\"", "*"};
};

/// ok, or invalid_argument naming the first field out of range (NaN included).
Status validate(const SamplingParams& params);

class Sampler {
 public:
  /// REQUIRES: validate(params).ok(). `tokenizer` may be null (DRY then has no sequence breakers)
  /// and is only used during the call.
  Sampler(SamplingParams params, const Tokenizer* tokenizer);
  ~Sampler();
  Sampler(Sampler&&) noexcept;
  Sampler& operator=(Sampler&&) noexcept;
  /// Forgets history and restarts the random stream and mirostat from the seed.
  void reset();
  /// Forgets history only; the random stream and mirostat go on.
  void forget();
  /// Adds a token to the history the penalties see (prompt tokens too). REQUIRES: id >= 0.
  void accept(TokenId id);
  /// logits: [n_vocab] f32, unchanged. NaN logits never win; when no logit is finite, the lowest
  /// id among the highest is returned. Does not accept() the result. REQUIRES: n_vocab > 0.
  TokenId sample(std::span<const float> logits);
  /// Whether sample() would be the highest logit, whatever they are.
  bool takes_highest() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace runnel
