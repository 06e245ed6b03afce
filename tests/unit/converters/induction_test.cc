#include "converters/induction.h"

#include <algorithm>
#include <set>

#include <doctest/doctest.h>

namespace runnel::converters {
namespace {

constexpr std::int64_t kTokens = 20, kDim = 64;

/// Keys are unit vectors of their token; a query asks for the token in its own place, or for none.
struct Heads {
  std::vector<float> q, k;  // [2 * kTokens + 1, heads * kDim]
};

Heads make_heads(std::int64_t n_heads, std::int64_t n_kv_heads, std::int64_t looking_head) {
  const std::int64_t n = 2 * kTokens + 1;
  Heads made;
  made.q.resize(static_cast<std::size_t>(n * n_heads * kDim));
  made.k.resize(static_cast<std::size_t>(n * n_kv_heads * kDim));
  for (std::int64_t t = 1; t < n; ++t) {
    const std::int64_t token = (t - 1) % kTokens;
    for (std::int64_t g = 0; g < n_kv_heads; ++g)
      made.k[static_cast<std::size_t>((t * n_kv_heads + g) * kDim + token)] = 1;
    // What came after it the first time: at t itself that token has not come again.
    made.q[static_cast<std::size_t>((t * n_heads + looking_head) * kDim + (token + 1) % kTokens)] =
        100;
  }
  return made;
}

}  // namespace

TEST_CASE("repeated_tokens: different tokens of the text, twice in the same order") {
  std::vector<std::int32_t> text{7};
  for (std::int32_t i = 0; i < 500; ++i) text.push_back(100 + i % 90);
  const std::vector<std::int32_t> ids = repeated_tokens(text, 50);
  REQUIRE(ids.size() == 101);
  CHECK(ids[0] == 7);
  CHECK(std::vector(ids.begin() + 1, ids.begin() + 51) == std::vector(ids.begin() + 51, ids.end()));
  CHECK(std::set(ids.begin() + 1, ids.begin() + 51).size() == 50);
  CHECK_FALSE(std::is_sorted(ids.begin() + 1, ids.begin() + 51));
  CHECK(repeated_tokens(text, 500).size() == 181);  // no more than there are
  CHECK(repeated_tokens({}, 5).empty());
}

TEST_CASE("InductionScores: a head that looks back gets about 1, one that does not about 0") {
  const AttentionShape shape{4, kDim, kDim, false};
  const Heads heads = make_heads(4, 2, 3);
  InductionScores scores(shape, kTokens);
  const std::int64_t first = 15, n = 2 * kTokens + 1;  // in two steps
  scores.add({2, first, 2, heads.q.data(), heads.k.data(), nullptr});
  scores.add({2, n - first, 2, heads.q.data() + first * 4 * kDim, heads.k.data() + first * 2 * kDim,
              nullptr});
  const auto all = scores.scores();
  REQUIRE(all.size() == 1);
  REQUIRE(all[0].size() == 2);
  CHECK(all[0][0] < 0.1);  // even attention: two places of 30
  CHECK(all[0][1] > 0.9);
}

TEST_CASE("streaming_heads: those that score low, but never all of a layer") {
  CHECK(streaming_heads({{0.5, 0.01, 0.2}, {0.01, 0.02}}, 0.1) ==
        std::vector<std::uint64_t>{0b010, 0b01});
  CHECK(streaming_heads({}, 0.1).empty());
}

}  // namespace runnel::converters
