#include "runtime/text/bpe.h"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <utility>
#include <vector>

namespace runnel {
namespace {

using Ids = std::vector<TokenId>;

struct Merge {
  TokenId left, right, merged;
};

BpeMerges make(const std::vector<Merge>& merges) {
  BpeMerges made;
  for (const Merge& merge : merges) made.add(merge.left, merge.right, merge.merged);
  return made;
}

Ids merge(const BpeMerges& merges, const Ids& bytes) {
  BpeScratch scratch;
  Ids out;
  merges.merge(bytes, scratch, out);
  return out;
}

/// The definition: merge the leftmost pair of least rank until there is none.
Ids merge_slowly(const std::vector<Merge>& merges, Ids ids) {
  std::map<std::pair<TokenId, TokenId>, std::size_t> ranks;
  for (std::size_t i = 0; i < merges.size(); ++i)
    ranks.try_emplace({merges[i].left, merges[i].right}, i);
  for (;;) {
    std::size_t best = merges.size(), at = 0;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = ranks.find({ids[i], ids[i + 1]});
      if (found == ranks.end() || found->second >= best) continue;
      best = found->second;
      at = i;
    }
    if (best == merges.size()) return ids;
    ids[at] = merges[best].merged;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST_CASE("BpeMerges, MergesByRankThenLeftmost") {
  const BpeMerges merges = make({{1, 2, 12}, {0, 1, 10}, {10, 2, 22}, {0, 0, 30}});
  CHECK(merge(merges, {}).empty());
  CHECK(merge(merges, {0}) == Ids{0});
  CHECK(merge(merges, {0, 1, 2}) == Ids{0, 12});
  CHECK(merge(merges, {0, 0, 0}) == Ids{30, 0});
  CHECK(merge(merges, {0, 1, 0, 1}) == Ids{10, 10});
}

TEST_CASE("BpeMerges, ARepeatedPairKeepsItsRank") {
  const BpeMerges merges = make({{0, 1, 10}, {1, 2, 12}, {0, 1, 11}});
  CHECK(merge(merges, {0, 1, 2}) == Ids{10, 2});
}

TEST_CASE("BpeMerges, NeverMergesABytesWithoutToken") {
  const BpeMerges merges = make({{0, 0, 5}});
  CHECK(merge(merges, {0, -1, 0, 0, -1}) == Ids{0, -1, 5, -1});
  CHECK(merge(merges, {-1, -1}) == Ids{-1, -1});
}

TEST_CASE("BpeMerges, EqualsTheDefinitionOnRandomMerges") {
  std::mt19937 random(5);
  const auto pick = [&](int n) {
    return static_cast<TokenId>(random() % static_cast<unsigned>(n));
  };
  int n_wrong = 0, n_merged = 0;
  BpeScratch scratch;  // shared, as in real use
  for (int round = 0; round < 3'000; ++round) {
    std::vector<Merge> merges;
    TokenId n_tokens = 3;
    for (int i = 0; i < 12; ++i) {
      const TokenId left = pick(n_tokens), right = pick(n_tokens);
      // Some merges give a token that is there already, as different splits of one word do.
      merges.push_back({left, right, pick(4) == 0 ? pick(n_tokens) : n_tokens++});
    }
    Ids bytes(static_cast<std::size_t>(pick(40)));
    for (TokenId& id : bytes) id = pick(20) == 0 ? -1 : pick(3);
    const BpeMerges made = make(merges);
    Ids got;
    made.merge(bytes, scratch, got);
    n_wrong += got != merge_slowly(merges, bytes);
    n_merged += got.size() < bytes.size();
  }
  CHECK(n_wrong == 0);
  CHECK(n_merged > 2'000);
}

}  // namespace
}  // namespace runnel
