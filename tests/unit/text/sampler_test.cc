// long: one file for the whole chain, stage by stage, on the same small distributions.
#include "runtime/text/sampler.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "runtime/text/sampler_chain.h"

namespace runnel {
namespace {

using sampling::Candidates;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

/// Logits whose softmax is these probabilities.
std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

Candidates candidates_of(const std::vector<double>& probabilities) {
  Candidates out;
  TokenId id = 0;
  for (const float logit : logits_of(probabilities)) out.items.push_back({id++, logit, 0.0});
  return out;
}

/// Ids that are left, ascending.
std::vector<TokenId> ids_of(const Candidates& candidates) {
  std::vector<TokenId> ids;
  for (const auto& item : candidates.items) ids.push_back(item.id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

using Ids = std::vector<TokenId>;

/// Parameters that change nothing: a draw from the plain distribution.
SamplingParams plain() {
  SamplingParams params;
  params.temperature = 1.0f;
  params.seed = 42;
  return params;
}

SamplingParams greedy() {
  SamplingParams params;
  params.temperature = 0.0f;
  return params;
}

Ids draw(const SamplingParams& params, const std::vector<float>& logits, int n) {
  Sampler sampler(params, nullptr);
  Ids ids;
  for (int i = 0; i < n; ++i) ids.push_back(sampler.sample(logits));
  return ids;
}

std::map<TokenId, int> histogram(const SamplingParams& params,
                                 const std::vector<float>& logits,
                                 int n) {
  std::map<TokenId, int> counts;
  for (const TokenId id : draw(params, logits, n)) ++counts[id];
  return counts;
}

/// Pearson's statistic of draws against the probabilities they should have.
double chi_square(const std::map<TokenId, int>& counts,
                  const std::map<TokenId, double>& expected,
                  int n) {
  double sum = 0.0;
  for (const auto& [id, probability] : expected) {
    const auto found = counts.find(id);
    const double seen = found == counts.end() ? 0.0 : found->second;
    const double wanted = probability * n;
    sum += (seen - wanted) * (seen - wanted) / wanted;
  }
  return sum;
}

TEST_CASE("Sampling, TopKKeepsTheBestAndTheLowestIdsAmongEquals") {
  Candidates candidates = candidates_of({0.1, 0.2, 0.2, 0.2, 0.3});
  sampling::top_k(&candidates, 3);
  CHECK(ids_of(candidates) == Ids{1, 2, 4});
  CHECK(candidates.items[0].id == 4);  // best first
  sampling::top_k(&candidates, 1);
  CHECK(ids_of(candidates) == Ids{4});
  sampling::top_k(&candidates, 10);
  CHECK(ids_of(candidates) == Ids{4});
}

TEST_CASE("Sampling, TopPKeepsTheSmallestSetThatReachesIt") {
  const std::vector<double> probabilities{0.05, 0.4, 0.25, 0.2, 0.1};
  const auto kept = [&](float p) {
    Candidates candidates = candidates_of(probabilities);
    sampling::top_p(&candidates, p);
    return ids_of(candidates);
  };
  CHECK(kept(0.0f) == Ids{1});
  CHECK(kept(0.39f) == Ids{1});
  CHECK(kept(0.41f) == Ids{1, 2});
  CHECK(kept(0.66f) == Ids{1, 2, 3});
  CHECK(kept(0.94f) == Ids{1, 2, 3, 4});
  CHECK(kept(0.96f) == Ids{0, 1, 2, 3, 4});
}

TEST_CASE("Sampling, TopPOfManyEqualsTakesTheLowestIds") {
  Candidates candidates = candidates_of(std::vector<double>(1000, 0.001));
  sampling::top_p(&candidates, 0.4995f);
  REQUIRE(candidates.items.size() == 500);
  CHECK(ids_of(candidates).back() == 499);
}

TEST_CASE("Sampling, MinPIsRelativeToTheBest") {
  const auto kept = [](float p) {
    Candidates candidates = candidates_of({0.5, 0.26, 0.14, 0.1});
    sampling::min_p(&candidates, p);
    return ids_of(candidates);
  };
  CHECK(kept(0.1f) == Ids{0, 1, 2, 3});
  CHECK(kept(0.25f) == Ids{0, 1, 2});
  CHECK(kept(0.51f) == Ids{0, 1});
  CHECK(kept(0.53f) == Ids{0});
  CHECK(kept(1.0f) == Ids{0});
}

TEST_CASE("Sampling, TypicalPrefersTheSurpriseNearestToTheEntropy") {
  // Entropy 1.0889 nats. Surprise 0.6931, 1.3863, 1.8971, 2.3026: distances 0.3958, 0.2974, 0.808,
  // 1.2137, so the order is 1, 0, 2, 3.
  const auto kept = [](float p) {
    Candidates candidates = candidates_of({0.5, 0.25, 0.15, 0.1});
    sampling::typical(&candidates, p);
    return ids_of(candidates);
  };
  CHECK(kept(0.0f) == Ids{1});
  CHECK(kept(0.2f) == Ids{1});
  CHECK(kept(0.3f) == Ids{0, 1});
  CHECK(kept(0.8f) == Ids{0, 1, 2});
  CHECK(kept(0.95f) == Ids{0, 1, 2, 3});
}

TEST_CASE("Sampling, ExcludeTopDropsAllButTheLeastOfTheLikely") {
  Random random(1);
  Candidates candidates = candidates_of({0.4, 0.1, 0.3, 0.2});
  sampling::exclude_top(&candidates, 1.0f, 0.15f, &random);
  CHECK(ids_of(candidates) == Ids{1, 3});
  candidates = candidates_of({0.4, 0.1, 0.3, 0.2});
  sampling::exclude_top(&candidates, 1.0f, 0.35f, &random);
  CHECK(ids_of(candidates) == Ids{0, 1, 2, 3});  // only one is above
  sampling::exclude_top(&candidates, 0.0f, 0.15f, &random);
  CHECK(candidates.items.size() == 4);
  candidates = candidates_of({0.25, 0.25, 0.25, 0.25});
  sampling::exclude_top(&candidates, 1.0f, 0.2f, &random);
  CHECK(ids_of(candidates) == Ids{3});  // the last of equals is the least likely
}

TEST_CASE("Sampling, SoftmaxScalesByTemperatureAndSurvivesExtremes") {
  Candidates candidates = candidates_of({0.2, 0.8});
  sampling::softmax(candidates.items, 0.5f);  // squares, then normalises
  CHECK(candidates.items[0].probability == doctest::Approx(0.04 / 0.68));
  candidates.items[0].logit = -std::numeric_limits<float>::max();
  candidates.items[1].logit = std::numeric_limits<float>::max();
  sampling::softmax(candidates.items, 1e-30f);
  CHECK(candidates.items[0].probability == 0.0);
  CHECK(candidates.items[1].probability == 1.0);
  candidates.items[0].logit = candidates.items[1].logit = -kInfinity;
  sampling::softmax(candidates.items, 1.0f);
  CHECK(candidates.items[0].probability == 1.0);
}

TEST_CASE("Sampling, MirostatDropsSurprisesAboveMuAndFollowsTheTarget") {
  Random random(3);
  double mu = 1.5;  // bits: keeps probabilities of at least 0.354
  Candidates candidates = candidates_of({0.4, 0.4, 0.1, 0.1});
  sampling::softmax(candidates.items, 1.0f);
  const TokenId id = sampling::mirostat(&candidates, 1.5f, 0.1f, &mu, &random);
  CHECK(id <= 1);
  CHECK(ids_of(candidates) == Ids{0, 1});
  // Each of the two has probability 1/2 and surprise 1: mu moves by 0.1 * (1 - 1.5).
  CHECK(mu == doctest::Approx(1.55));
  mu = -5.0;  // nothing is allowed: the best stays
  candidates = candidates_of({0.3, 0.7});
  sampling::softmax(candidates.items, 1.0f);
  CHECK(sampling::mirostat(&candidates, 1.0f, 0.5f, &mu, &random) == 1);
  CHECK(mu == doctest::Approx(-4.5));
}

/// What RepeatFinder computes, written as the definition says.
std::map<TokenId, std::int32_t> repeats_by_definition(const Ids& history,
                                                      const std::vector<bool>& breakers,
                                                      std::int32_t min_length) {
  std::map<TokenId, std::int32_t> found;
  const auto n = static_cast<int>(history.size());
  const auto at = [&](int i) { return history[static_cast<std::size_t>(i)]; };
  const auto breaks = [&](TokenId id) { return breakers[static_cast<std::size_t>(id)]; };
  for (int i = 0; i < n; ++i) {
    if (breaks(at(i))) continue;
    std::int32_t length = 0;
    while (length < i && at(i - 1 - length) == at(n - 1 - length) && !breaks(at(n - 1 - length))) {
      ++length;
    }
    if (length >= min_length) found[at(i)] = std::max(found[at(i)], length);
  }
  return found;
}

TEST_CASE("Sampling, RepeatFinderAgreesWithTheDefinition") {
  Random random(5);
  sampling::RepeatFinder finder;
  int matches = 0;
  for (int round = 0; round < 2000; ++round) {
    Ids history;
    const std::uint64_t size = random.next() % 60;
    for (std::uint64_t i = 0; i < size; ++i) {
      history.push_back(static_cast<TokenId>(random.next() % 4));
    }
    std::vector<bool> breakers(4);
    breakers[3] = round % 2 == 0;
    const auto min_length = static_cast<std::int32_t>(1 + random.next() % 3);
    std::map<TokenId, std::int32_t> found;
    for (const auto& match : finder.find(history, breakers, min_length)) {
      found[match.id] = match.length;
      ++matches;
    }
    CHECK(found == repeats_by_definition(history, breakers, min_length));
  }
  CHECK(matches > 1000);
}

TEST_CASE("Sampling, RepeatFinderIsLinear") {
  // Quadratic work would be 10^11 steps here.
  const Ids history(300'000, 7);
  sampling::RepeatFinder finder;
  const auto found = finder.find(history, {}, 2);
  REQUIRE(found.size() == 1);
  CHECK(found[0].length == 299'999);
}

TEST_CASE("Sampler, GreedyTakesTheLowestOfTheHighest") {
  Sampler sampler(greedy(), nullptr);
  CHECK(sampler.sample(std::vector<float>{1, 3, 2, 3}) == 1);
  CHECK(sampler.sample(std::vector<float>{kNan, -5, kNan, -4}) == 3);
  CHECK(sampler.sample(std::vector<float>{-kInfinity, -kInfinity}) == 0);
  CHECK(sampler.sample(std::vector<float>{kNan, -kInfinity, -kInfinity}) == 1);
  CHECK(sampler.sample(std::vector<float>{kNan, kNan}) == 0);
  CHECK(sampler.sample(std::vector<float>{1, kInfinity}) == 1);
  CHECK(sampler.sample(std::vector<float>{7}) == 0);
}

TEST_CASE("Sampler, NanAndInfinityNeverBreakADraw") {
  SamplingParams params = plain();
  params.top_k = 3;
  params.top_p = 0.9f;
  params.min_p = 0.05f;
  params.typical_p = 0.9f;
  params.xtc_probability = 0.5f;
  const std::vector<std::vector<float>> all = {
      {kNan, kNan, kNan, kNan},
      {-kInfinity, -kInfinity, -kInfinity, -kInfinity},
      {kNan, -kInfinity, -kInfinity, -kInfinity},
      {kInfinity, kInfinity, 1, kNan},
      {3e38f, -3e38f, 3e38f, 0},
  };
  for (const auto& logits : all) {
    for (const float tau : {0.0f, 3.0f}) {
      params.mirostat_tau = tau;
      for (const TokenId id : draw(params, logits, 50)) {
        REQUIRE(id >= 0);
        REQUIRE(id < 4);
        const bool only_nan = std::isnan(logits[0]) && std::isnan(logits[1]);
        CHECK((only_nan || !std::isnan(logits[static_cast<std::size_t>(id)])));
      }
    }
  }
  CHECK(draw(plain(), {kNan, -kInfinity, -kInfinity}, 3) == Ids{1, 1, 1});
}

TEST_CASE("Sampler, DrawsFollowTheDistribution") {
  const std::vector<double> probabilities{0.4, 0.3, 0.2, 0.07, 0.03};
  const int n = 20'000;
  const auto counts = histogram(plain(), logits_of(probabilities), n);
  std::map<TokenId, double> expected;
  for (TokenId id = 0; id < 5; ++id) expected[id] = probabilities[static_cast<std::size_t>(id)];
  // 18.5: passed by chance once in 1000 for 4 degrees of freedom; the seed is fixed.
  CHECK(chi_square(counts, expected, n) < 18.5);
  // The same draws do not fit another distribution.
  expected = {{0, 0.38}, {1, 0.3}, {2, 0.2}, {3, 0.07}, {4, 0.05}};
  CHECK(chi_square(counts, expected, n) > 18.5);
}

TEST_CASE("Sampler, TemperatureComesAfterTheTruncation") {
  // At temperature 1 top-p 0.6 keeps ids 0 and 1. With temperature first, 4 would keep more.
  SamplingParams params = plain();
  params.top_p = 0.6f;
  params.temperature = 4.0f;
  const int n = 20'000;
  const auto counts = histogram(params, logits_of({0.4, 0.3, 0.2, 0.1}), n);
  CHECK(counts.size() == 2);
  const double a = std::pow(0.4, 0.25);
  const double b = std::pow(0.3, 0.25);
  CHECK(chi_square(counts, {{0, a / (a + b)}, {1, b / (a + b)}}, n) < 10.8);
}

TEST_CASE("Sampler, TopKComesBeforeTopPAndMinPAfterIt") {
  // top-k 2 renormalises to 4/7 and 3/7; top-p 0.5 then keeps one token. The other way round it
  // would keep two.
  SamplingParams params = plain();
  params.top_k = 2;
  params.top_p = 0.5f;
  CHECK(histogram(params, logits_of({0.4, 0.3, 0.2, 0.1}), 500).size() == 1);
  params.top_k = 0;
  CHECK(histogram(params, logits_of({0.4, 0.3, 0.2, 0.1}), 500).size() == 2);
  // XTC sees what min-p left: 0.1 is gone, so the least likely of the likely is 0.2.
  params = plain();
  params.min_p = 0.4f;
  params.xtc_probability = 1.0f;
  params.xtc_threshold = 0.05f;
  CHECK(draw(params, logits_of({0.4, 0.3, 0.2, 0.1}), 5) == Ids{2, 2, 2, 2, 2});
}

TEST_CASE("Sampler, EqualSeedsDrawEqualTokens") {
  const std::vector<float> logits = logits_of({0.3, 0.2, 0.2, 0.2, 0.1});
  SamplingParams params = plain();
  const Ids first = draw(params, logits, 200);
  CHECK(first == draw(params, logits, 200));
  params.seed = 43;
  CHECK(first != draw(params, logits, 200));
  // Pinned: the same on every platform.
  params.seed = 42;
  const Ids start(first.begin(), first.begin() + 12);
  CHECK(start == Ids{0, 1, 2, 4, 4, 3, 3, 3, 3, 2, 2, 0});
}

TEST_CASE("Sampler, RandomStreamIsTheReferenceOne") {
  Random random(0);
  // splitmix64 and xoshiro256** as published, seed 0.
  CHECK(random.next() == 0x99ec5f36cb75f2b4U);
  CHECK(random.next() == 0xbf6e1f784956452aU);
  CHECK(random.next() == 0x1a5f849d4933e6e0U);
  double lowest = 1.0;
  double highest = 0.0;
  for (int i = 0; i < 100'000; ++i) {
    const double u = random.uniform();
    lowest = std::min(lowest, u);
    highest = std::max(highest, u);
  }
  CHECK(lowest >= 0.0);
  CHECK(lowest < 1e-3);
  CHECK(highest < 1.0);
  CHECK(highest > 1.0 - 1e-3);
}

TEST_CASE("Sampler, ResetForgetsHistoryAndRestartsTheStream") {
  const std::vector<float> logits = logits_of({0.3, 0.3, 0.2, 0.2});
  for (const float tau : {0.0f, 1.0f}) {
    SamplingParams params = plain();
    params.repeat_penalty = 1.5f;
    params.mirostat_tau = tau;
    params.mirostat_eta = 0.9f;
    Sampler sampler(params, nullptr);
    const auto run = [&] {
      Ids ids;
      for (int i = 0; i < 100; ++i) {
        ids.push_back(sampler.sample(logits));
        sampler.accept(ids.back());
      }
      return ids;
    };
    const Ids first = run();
    CHECK(first != run());
    sampler.reset();
    CHECK(first == run());
  }
}

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

TEST_CASE("Sampler, ExtremeParametersAreHarmless") {
  const std::vector<float> logits = logits_of({0.4, 0.3, 0.2, 0.1});
  SamplingParams params = plain();
  params.top_k = 1000;
  CHECK(draw(params, logits, 50) == draw(plain(), logits, 50));
  params = plain();
  params.top_p = 0.0f;
  CHECK(histogram(params, logits, 50) == std::map<TokenId, int>{{0, 50}});
  params = plain();
  params.temperature = 1e-20f;
  CHECK(histogram(params, logits, 50) == std::map<TokenId, int>{{0, 50}});
  params.temperature = 1e30f;
  CHECK(histogram(params, logits, 2000).size() == 4);
  params = plain();
  params.typical_p = 0.0f;
  CHECK(histogram(params, logits, 50).size() == 1);
  params = plain();
  params.xtc_probability = 1.0f;
  params.xtc_threshold = 0.0f;  // only the least likely token stays
  CHECK(histogram(params, logits, 50) == std::map<TokenId, int>{{3, 50}});
}

TEST_CASE("Sampler, MirostatHoldsTheSurprise") {
  // 200 tokens with a Zipf law: the mean surprise of the draws comes near the target.
  std::vector<double> probabilities;
  double sum = 0.0;
  for (int i = 1; i <= 200; ++i) sum += 1.0 / i;
  for (int i = 1; i <= 200; ++i) probabilities.push_back(1.0 / i / sum);
  for (const float tau : {2.0f, 4.0f}) {
    SamplingParams params = plain();
    params.mirostat_tau = tau;
    double surprise = 0.0;
    const Ids ids = draw(params, logits_of(probabilities), 4000);
    for (const TokenId id : ids) {
      surprise -= std::log2(probabilities[static_cast<std::size_t>(id)]);
    }
    // Measured on the full distribution it is above the target, which counts after truncation.
    CHECK(surprise / 4000.0 > static_cast<double>(tau));
    CHECK(surprise / 4000.0 < static_cast<double>(tau) + 1.6);
  }
}

TEST_CASE("SamplingParams, AreValidByDefault") {
  CHECK(validate(SamplingParams()).ok());
  CHECK(validate(greedy()).ok());
}

TEST_CASE("SamplingParams, NameTheFieldThatIsOutOfRange") {
  struct Bad {
    const char* field;
    std::function<void(SamplingParams*, float)> set;
    std::vector<float> values;
  };
  const float nan = kNan;
  const Bad all[] = {
      {"temperature", [](auto* p, float v) { p->temperature = v; }, {-0.1f, nan, kInfinity}},
      {"top_p", [](auto* p, float v) { p->top_p = v; }, {-0.1f, 1.1f, nan}},
      {"min_p", [](auto* p, float v) { p->min_p = v; }, {-0.1f, 1.1f, nan}},
      {"typical_p", [](auto* p, float v) { p->typical_p = v; }, {-0.1f, 1.1f, nan}},
      {"xtc_probability", [](auto* p, float v) { p->xtc_probability = v; }, {-0.1f, 1.1f, nan}},
      {"xtc_threshold", [](auto* p, float v) { p->xtc_threshold = v; }, {-0.1f, 1.1f, nan}},
      {"dry_multiplier", [](auto* p, float v) { p->dry_multiplier = v; }, {-1, nan, kInfinity}},
      {"dry_base", [](auto* p, float v) { p->dry_base = v; }, {0.5f, nan, kInfinity}},
      {"repeat_penalty", [](auto* p, float v) { p->repeat_penalty = v; }, {0, -1, nan}},
      {"presence_penalty", [](auto* p, float v) { p->presence_penalty = v; }, {nan, -kInfinity}},
      {"frequency_penalty", [](auto* p, float v) { p->frequency_penalty = v; }, {nan, kInfinity}},
      {"mirostat_tau", [](auto* p, float v) { p->mirostat_tau = v; }, {-1, nan}},
      {"mirostat_eta", [](auto* p, float v) { p->mirostat_eta = v; }, {-1, nan}},
      {"top_k", [](auto* p, float v) { p->top_k = static_cast<int>(v); }, {-1}},
      {"dry_allowed_length",
       [](auto* p, float v) { p->dry_allowed_length = static_cast<int>(v); },
       {-1}},
      {"dry_last_n", [](auto* p, float v) { p->dry_last_n = static_cast<int>(v); }, {-2}},
      {"penalty_last_n", [](auto* p, float v) { p->penalty_last_n = static_cast<int>(v); }, {-2}},
      {"logit_bias",
       [](auto* p, float v) {
         p->logit_bias = {{3, v}};
       },
       {nan}},
      {"logit_bias",
       [](auto* p, float v) {
         p->logit_bias = {{-1, v}};
       },
       {1}},
  };
  for (const Bad& bad : all) {
    for (const float value : bad.values) {
      SamplingParams params;
      bad.set(&params, value);
      const Status status = validate(params);
      CAPTURE(std::string(bad.field));
      CAPTURE(value);
      CHECK(status.code() == Code::invalid_argument);
      CHECK(status.message().substr(0, std::string(bad.field).size()) == bad.field);
    }
  }
}

}  // namespace
}  // namespace runnel
