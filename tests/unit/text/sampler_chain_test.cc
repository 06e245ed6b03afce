// The stages of the sampler chain one by one, on small distributions.
#include "runtime/text/sampler_chain.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "tests/unit/text/sampling_draws.h"

namespace runnel {
namespace {

using sampling::Candidates;
using test::Ids;
using test::kInfinity;
using test::logits_of;

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

}  // namespace
}  // namespace runnel
