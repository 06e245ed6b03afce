// Picks the next token from logits. One Sampler per conversation; deterministic for a given seed.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/text/tokenizer.h"

namespace runnel {

/// All off by default except greedy-free temperature. The chain runs in this order: logit bias,
/// penalties (repeat, presence, frequency), DRY, top-k, typical, top-p, min-p, XTC, temperature,
/// draw. temperature 0 = the highest logit after bias and penalties, the lowest id among equals.
/// mirostat replaces everything after the penalties but temperature.
struct SamplingParams {
  float temperature = 0.8f;
  std::int32_t top_k = 0;        // 0 = off
  float top_p = 1.0f;            // 1 = off
  float min_p = 0.0f;            // 0 = off
  float typical_p = 1.0f;        // 1 = off
  float xtc_probability = 0.0f;  // 0 = off
  float xtc_threshold = 0.1f;
  float dry_multiplier = 0.0f;  // 0 = off
  float dry_base = 1.75f;
  std::int32_t dry_allowed_length = 2;
  std::int32_t dry_last_n = -1;  // -1 = whole history
  float repeat_penalty = 1.0f;   // 1 = off
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  std::int32_t penalty_last_n = 64;  // tokens the penalties look at; -1 = all, 0 = off
  float mirostat_tau = 0.0f;         // 0 = off (mirostat v2)
  float mirostat_eta = 0.1f;
  std::uint64_t seed = 0;
  std::vector<std::pair<TokenId, float>> logit_bias;
  std::vector<std::string> dry_breakers{"\n", ":", "\"", "*"};
};

/// ok, or invalid_argument naming the first field out of range (NaN included).
Status validate(const SamplingParams& params);

class Sampler {
 public:
  /// REQUIRES: validate(params).ok(). `tokenizer` may be null (DRY then has no sequence breakers).
  Sampler(SamplingParams params, const Tokenizer* tokenizer);
  ~Sampler();
  Sampler(Sampler&&) noexcept;
  Sampler& operator=(Sampler&&) noexcept;
  /// Forgets history and restarts the random stream from the seed.
  void reset();
  /// Adds a token to the history the penalties see (prompt tokens too).
  void accept(TokenId id);
  /// logits: [n_vocab] f32, unchanged. NaN logits never win. Does not accept() the result.
  TokenId sample(std::span<const float> logits);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace runnel
