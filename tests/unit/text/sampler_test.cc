// The whole chain: the order of its stages, its random stream, and what it draws.
#include "runtime/text/sampler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "runtime/text/sampler_random.h"
#include "tests/unit/text/sampling_draws.h"

namespace runnel {
namespace {

using test::draw;
using test::greedy;
using test::histogram;
using test::Ids;
using test::kInfinity;
using test::kNan;
using test::logits_of;
using test::plain;

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

}  // namespace
}  // namespace runnel
