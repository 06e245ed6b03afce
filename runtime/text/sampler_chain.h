// The stages of the sampler, as functions over a list of candidates. Used by Sampler; separate so
// that each stage can be tested alone. Stages do not allocate once the scratch has grown.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/text/sampler_random.h"
#include "runtime/text/tokenizer.h"

namespace runnel::sampling {

struct Candidate {
  TokenId id;
  float logit;
  double probability;  // set by softmax()
};

/// Candidates in ascending id order, or best first (logit descending, then id ascending) once a
/// stage has sorted a part. Both orders depend on the numbers only, never on the standard library.
struct Candidates {
  std::vector<Candidate> items;
  std::vector<std::uint32_t> order;  // scratch of typical()
  std::vector<double> scores;        // scratch of typical()
};

/// Index of the highest logit, the lowest index among equals; 0 when every logit is NaN.
/// One pass. REQUIRES: logits not empty.
TokenId argmax(std::span<const float> logits);

/// Sets probability from logit / temperature; sums to 1. REQUIRES: items not empty, logits free of
/// NaN and of +infinity, temperature > 0. When all logits are -infinity the first item gets 1.
void softmax(std::span<Candidate> items, float temperature);

/// Keeps the k best. REQUIRES: k > 0.
void top_k(Candidates* candidates, std::int32_t k);
/// Keeps the fewest best tokens whose probabilities reach p.
void top_p(Candidates* candidates, float p);
/// Keeps tokens with probability >= p * highest probability.
void min_p(Candidates* candidates, float p);
/// Locally typical sampling: keeps the tokens whose surprise is nearest to the entropy until their
/// probabilities reach p. SOURCE: Meister et al., "Locally typical sampling" (2022), section 4.
void typical(Candidates* candidates, float p);
/// Exclude top choices: with probability `chance` drops every token with probability >= threshold
/// but the least likely of them. Uses one random number. SOURCE: text-generation-webui pull request
/// 6335.
void exclude_top(Candidates* candidates, float chance, float threshold, Random* random);
/// Draws an index in proportion to probability. REQUIRES: softmax() was called.
std::size_t draw(std::span<const Candidate> items, Random* random);
/// Mirostat v2: drops tokens with surprise above *mu bits, draws one, and moves *mu towards the
/// target. SOURCE: Basu et al., "Mirostat" (2021), algorithm 2. REQUIRES: softmax() was called.
TokenId mirostat(Candidates* candidates, float tau, float eta, double* mu, Random* random);

/// "Don't repeat yourself": finds, for each token that once followed the same text as the end of
/// the history, the length of that repeated text, in time linear in the history.
/// SOURCE: text-generation-webui pull request 5677.
class RepeatFinder {
 public:
  struct Match {
    TokenId id;           // the token that would continue the repetition
    std::int32_t length;  // tokens repeated before it
  };
  /// One match of the longest length per token, ids ascending; only lengths >= min_length. Tokens
  /// with breakers[id] set are never part of a match. The span is valid until the next call.
  std::span<const Match> find(std::span<const TokenId> history,
                              const std::vector<bool>& breakers,
                              std::int32_t min_length);

 private:
  std::vector<std::int32_t> prefix_;  // Z function of the reversed history
  std::vector<Match> matches_;
};

}  // namespace runnel::sampling
