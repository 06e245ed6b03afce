#include "runtime/cache/cache.h"

#include <numeric>

#include "tests/unit/compile/fake_backend.h"

namespace runnel::tests {
namespace {

constexpr std::int64_t kRing = 6, kKernel = 3, kConvLayers = 2;

Graph states() {
  Graph graph(4);
  graph.add_state("conv0", Shape{kRing, 16}, DType::f32, StateKind::conv);
  graph.add_state("k", Shape{2, kPageTokens, 8}, DType::f16, StateKind::kv_k);
  graph.add_state("v", Shape{2, kPageTokens, 8}, DType::f16, StateKind::kv_v);
  graph.add_state("conv1", Shape{kRing, 16}, DType::f32, StateKind::conv);
  return graph;
}

struct Fixture {
  std::unique_ptr<Backend> backend = reference_backend();
  std::unique_ptr<Cache> cache;
  explicit Fixture(std::int64_t capacity = 1000, std::int64_t conv_layers = kConvLayers) {
    auto made = Cache::create(states(), *backend, {capacity, kKernel, conv_layers});
    REQUIRE(made.ok());
    cache = *std::move(made);
  }
  /// Runs positions up to `end` in steps of `chunk`, token id = position.
  void grow(std::int64_t end, std::int64_t chunk = 1000) {
    REQUIRE(cache->reserve(end).ok());
    for (std::int64_t at = cache->resume_from(); at < end; at = cache->resume_from()) {
      std::vector<TokenId> ids(static_cast<std::size_t>(std::min(chunk, end - at)));
      std::iota(ids.begin(), ids.end(), static_cast<TokenId>(at));
      cache->commit(at, ids);
    }
  }
};

}  // namespace

TEST_CASE("Cache: pages come as tokens do, in the place the table says") {
  Fixture f(300);
  CHECK(f.cache->table().states.size() == 4);
  CHECK(f.cache->table().states[1].host_pages.empty());
  REQUIRE(f.cache->reserve(1).ok());
  CHECK(f.cache->table().states[1].host_pages.size() == 4);
  REQUIRE(f.cache->reserve(257).ok());
  const StateBinding& k = f.cache->table().states[1];
  CHECK(k.host_pages.size() == 8);
  CHECK(k.buffers[0]->host() + k.offsets[1] == k.host_pages[1]);
  CHECK(f.cache->reserve(301).code() == Code::context_full);
  const CacheBytes bytes = Cache::bytes(states(), 300);
  CHECK(bytes.kv == 2 * 8 * 2 * 64 * 8 * 2);
  CHECK(bytes.conv == 2 * kRing * 16 * 4);
}

TEST_CASE("Cache: a short rollback needs no replay, a long one replays the filter's reach") {
  Fixture f;
  f.grow(100);
  CHECK(f.cache->resume_from() == 100);
  f.cache->truncate(100 - (kRing - (kKernel - 1)));  // the ring still holds what is needed
  CHECK(f.cache->resume_from() == 96);
  f.grow(100);
  f.cache->truncate(95);
  CHECK(f.cache->resume_from() == 95 - kConvLayers * (kKernel - 1));
  CHECK(f.cache->size() == 95);
}

TEST_CASE("Cache: after a replay only the newest columns are trusted") {
  Fixture f;
  f.grow(100);
  f.cache->truncate(50);
  CHECK(f.cache->resume_from() == 46);
  f.grow(51, 2);  // the replay in several steps
  CHECK(f.cache->size() == 51);
  f.cache->truncate(50);
  CHECK(f.cache->resume_from() == 50);  // needs columns 48, 49: exact
  f.cache->truncate(49);
  CHECK(f.cache->resume_from() == 45);  // needs column 47: not exact
}

TEST_CASE("Cache: near the beginning everything is replayed from zero, and then exact") {
  Fixture f;
  f.grow(100);
  f.cache->truncate(3);
  CHECK(f.cache->resume_from() == 0);
  f.grow(5);
  f.cache->truncate(1);
  CHECK(f.cache->resume_from() == 1);
  f.cache->truncate(0);
  CHECK(f.cache->resume_from() == 0);
  f.grow(2);
  CHECK(f.cache->size() == 2);
}

TEST_CASE("Cache: an abandoned step and an interrupted replay replay again") {
  Fixture f;
  f.grow(100);
  f.cache->abandon_step(101);
  CHECK(f.cache->size() == 100);
  CHECK(f.cache->resume_from() == 96);
  const TokenId part[] = {96, 97};
  f.cache->commit(96, part);
  CHECK(f.cache->resume_from() == 98);
  f.cache->truncate(99);
  CHECK(f.cache->resume_from() == 95);
}

TEST_CASE("Cache: without convolutions a rollback is a number") {
  Fixture f(1000, 0);
  f.grow(100);
  f.cache->truncate(10);
  CHECK(f.cache->resume_from() == 10);
  f.cache->abandon_step(101);
  CHECK(f.cache->resume_from() == 10);
}

TEST_CASE("Cache: the common prefix is found") {
  Fixture f;
  f.grow(10);
  const TokenId same[] = {0, 1, 2}, differs[] = {0, 1, 7, 3}, other[] = {9};
  std::vector<TokenId> longer(20);
  std::iota(longer.begin(), longer.end(), 0);
  CHECK(f.cache->match_prefix(same) == 3);
  CHECK(f.cache->match_prefix(differs) == 2);
  CHECK(f.cache->match_prefix(other) == 0);
  CHECK(f.cache->match_prefix(longer) == 10);
  CHECK(f.cache->match_prefix({}) == 0);
}

namespace {

/// Tiles beside convolutions; a ring of 64 rows, 32 of them seen by a token.
Fixture tiled() {
  Graph graph(4);
  graph.add_state("conv0", Shape{kRing, 16}, DType::f32, StateKind::conv);
  graph.add_state("k", Shape{1, kPageTokens, 64}, DType::f16, StateKind::kv_k,
                  quant::KvFormat::kt4);
  graph.add_state("v", Shape{1, kPageTokens, 64}, DType::f16, StateKind::kv_v,
                  quant::KvFormat::kt8);
  graph.add_state("window", Shape{2, 16 + 64, 64}, DType::f16, StateKind::kv_window);
  Fixture fixture;
  auto made = Cache::create(graph, *fixture.backend, {1000, kKernel, kConvLayers, 32});
  REQUIRE(made.ok());
  fixture.cache = *std::move(made);
  const CacheBytes bytes = Cache::bytes(graph, 1000);
  CHECK(bytes.kv == 16 * (2176 + 4224) + 2 * 80 * 64 * 2);
  return fixture;
}

}  // namespace

TEST_CASE("Cache: tiles are sealed by position, and a short rollback reads what the ring holds") {
  Fixture f = tiled();
  f.grow(47);
  CHECK(f.cache->kv_sealed() == 0);
  f.grow(48);
  CHECK(f.cache->kv_sealed() == 16);
  f.grow(200);
  CHECK(f.cache->kv_sealed() == 160);
  f.cache->truncate(195);  // needs rows 152 - 16 ..; the ring has 136 ..
  CHECK(f.cache->resume_from() == 191);
  CHECK(f.cache->kv_keep() == 195);
  CHECK(f.cache->kv_sealed() == 160);
  f.grow(200);
  CHECK(f.cache->size() == 200);
}

TEST_CASE("Cache: a rollback beyond the ring of rows starts over") {
  Fixture f = tiled();
  f.grow(200);
  f.cache->truncate(150);
  CHECK(f.cache->size() == 150);
  CHECK(f.cache->resume_from() == 0);
  CHECK(f.cache->kv_keep() == 0);
  CHECK(f.cache->kv_sealed() == 0);
  const TokenId first[] = {0, 1, 2};
  f.cache->commit(0, first);
  CHECK(f.cache->kv_keep() == 3);
  f.cache->truncate(100);  // in the middle of it: goes on from there
  CHECK(f.cache->resume_from() == 3);
  f.cache->truncate(2);
  CHECK(f.cache->resume_from() == 2);
  f.grow(120, 7);
  CHECK(f.cache->kv_sealed() == 80);
  f.cache->truncate(119);
  CHECK(f.cache->resume_from() == 119);
  f.cache->abandon_step(127);  // may have overwritten rows that are needed
  CHECK(f.cache->resume_from() == 115);
  f.cache->abandon_step(300);
  CHECK(f.cache->resume_from() == 0);
}

}  // namespace runnel::tests
