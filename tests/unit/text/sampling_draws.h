// Small distributions, and draws from them, for the sampler's tests.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "runtime/text/sampler.h"

namespace runnel::test {

using Ids = std::vector<TokenId>;

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// Logits whose softmax is these probabilities.
inline std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

/// Parameters that change nothing: a draw from the plain distribution.
inline SamplingParams plain() {
  SamplingParams params;
  params.temperature = 1.0f;
  params.seed = 42;
  return params;
}

inline SamplingParams greedy() {
  SamplingParams params;
  params.temperature = 0.0f;
  return params;
}

inline Ids draw(const SamplingParams& params, const std::vector<float>& logits, int n) {
  Sampler sampler(params, nullptr);
  Ids ids;
  for (int i = 0; i < n; ++i) ids.push_back(sampler.sample(logits));
  return ids;
}

inline std::map<TokenId, int> histogram(const SamplingParams& params,
                                        const std::vector<float>& logits,
                                        int n) {
  std::map<TokenId, int> counts;
  for (const TokenId id : draw(params, logits, n)) ++counts[id];
  return counts;
}

}  // namespace runnel::test
