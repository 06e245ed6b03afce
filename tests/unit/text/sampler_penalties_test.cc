// What the sampler does to tokens that occurred: penalties, bias, DRY.
#include <doctest/doctest.h>

#include <vector>

#include "runtime/text/sampler.h"
#include "tests/unit/text/sampling_draws.h"

namespace runnel {
namespace {

using test::greedy;
using test::histogram;
using test::Ids;
using test::kInfinity;
using test::plain;

/// The greedy choice after this history.
TokenId after(const SamplingParams& params, const Ids& history, const std::vector<float>& logits) {
  Sampler sampler(params, nullptr);
  for (const TokenId id : history) sampler.accept(id);
  return sampler.sample(logits);
}

TEST_CASE("Sampler, RepeatPenaltyDividesPositiveAndMultipliesNegativeLogits") {
  SamplingParams params = greedy();
  params.repeat_penalty = 2.0f;
  CHECK(after(params, {0}, {3.9f, 2.0f}) == 1);
  CHECK(after(params, {0}, {4.1f, 2.0f}) == 0);
  CHECK(after(params, {0, 0, 0}, {4.1f, 2.0f}) == 0);  // once, however often it occurred
  CHECK(after(params, {0}, {-1.1f, -2.0f}) == 1);
  CHECK(after(params, {0}, {-0.9f, -2.0f}) == 0);
  params.repeat_penalty = 0.5f;
  CHECK(after(params, {0}, {1.1f, 2.0f}) == 0);
}

TEST_CASE("Sampler, PresenceCountsOnceAndFrequencyEachTime") {
  SamplingParams params = greedy();
  params.presence_penalty = 1.0f;
  CHECK(after(params, {0, 0, 0}, {3.1f, 2.0f}) == 0);
  CHECK(after(params, {0}, {2.9f, 2.0f}) == 1);
  params = greedy();
  params.frequency_penalty = 1.0f;
  CHECK(after(params, {0}, {3.1f, 2.0f}) == 0);
  CHECK(after(params, {0, 0}, {3.1f, 2.0f}) == 1);
}

TEST_CASE("Sampler, PenaltiesLookAtTheLastTokensOnly") {
  SamplingParams params = greedy();
  params.presence_penalty = 10.0f;
  params.penalty_last_n = 2;
  CHECK(after(params, {0, 1, 1}, {3.0f, 4.0f, 1.0f}) == 0);
  CHECK(after(params, {1, 0, 2}, {3.0f, 4.0f, 1.0f}) == 1);
  CHECK(after(params, {0, 0, 1, 0}, {3.0f, 4.0f, 1.0f}) == 2);
  params.penalty_last_n = -1;
  CHECK(after(params, {0, 1, 2, 2, 2}, {3.0f, 4.0f, 1.0f, 0.5f}) == 3);
  params.penalty_last_n = 0;
  CHECK(after(params, {0, 1}, {3.0f, 4.0f}) == 1);
  CHECK(after(params, {1'000'000'000}, {3.0f, 4.0f}) == 1);  // not in this vocabulary
}

TEST_CASE("Sampler, BiasComesBeforeThePenalties") {
  SamplingParams params = greedy();
  params.logit_bias = {{0, 4.0f}, {900, 5.0f}};
  CHECK(after(params, {}, {-1.0f, 2.0f}) == 0);
  params.repeat_penalty = 2.0f;  // 3 / 2 = 1.5; after the penalty it would be -2 + 4 = 2
  CHECK(after(params, {0}, {-1.0f, 1.8f}) == 1);
  params = plain();
  params.logit_bias = {{1, -kInfinity}};
  CHECK(histogram(params, {1.0f, 9.0f, 1.0f}, 200).count(1) == 0);
  params.logit_bias = {{1, kInfinity}};
  CHECK(histogram(params, {1.0f, -9.0f, 1.0f}, 200).size() == 1);
}

TEST_CASE("Sampler, DryPenalisesTheTokenThatWouldGoOnRepeating") {
  SamplingParams params = greedy();
  params.dry_multiplier = 1.0f;
  params.dry_base = 2.0f;
  params.dry_allowed_length = 2;
  // "5 6 7" then "5 6": 7 would repeat a text of length 2: penalty 1 * 2^0.
  std::vector<float> logits(10, 0.0f);
  logits[7] = 3.0f;
  logits[1] = 2.1f;
  CHECK(after(params, {5, 6, 7, 5, 6}, logits) == 1);
  logits[1] = 1.9f;
  CHECK(after(params, {5, 6, 7, 5, 6}, logits) == 7);
  // A text of length 3 costs 2, of length 4 costs 4.
  logits[1] = 1.1f;
  CHECK(after(params, {4, 5, 6, 7, 4, 5, 6}, logits) == 1);
  logits[1] = 0.9f;
  CHECK(after(params, {4, 5, 6, 7, 4, 5, 6}, logits) == 7);
  CHECK(after(params, {3, 4, 5, 6, 7, 3, 4, 5, 6}, logits) == 1);
  // Too short, or outside the window.
  logits[1] = 2.9f;
  CHECK(after(params, {6, 7, 6}, logits) == 7);
  params.dry_last_n = 4;
  CHECK(after(params, {5, 6, 7, 5, 6}, logits) == 7);
  params.dry_last_n = 5;
  CHECK(after(params, {5, 6, 7, 5, 6}, logits) == 1);
  params.dry_last_n = 0;
  CHECK(after(params, {5, 6, 7, 5, 6}, logits) == 7);
  // A very long repetition costs more than any float: still a valid choice.
  params.dry_last_n = -1;
  CHECK(after(params, Ids(5000, 7), logits) == 1);
}

}  // namespace
}  // namespace runnel
