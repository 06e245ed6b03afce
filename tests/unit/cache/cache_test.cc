#include "runtime/cache/cache.h"

#include "tests/unit/cache/fixture.h"

namespace runnel::tests {

TEST_CASE("Cache: pages come as tokens do, in the place the table says") {
  Fixture f(300);
  CHECK(f.cache->table().states.size() == 4);
  CHECK(f.cache->table().states[1].host_pages.empty());
  REQUIRE(f.cache->reserve(1).ok());
  CHECK(f.cache->table().states[1].host_pages.size() == 1);
  REQUIRE(f.cache->reserve(257).ok());
  const StateBinding k = f.cache->table().states[1];
  const StateBinding v = f.cache->table().states[2];
  CHECK(k.host_pages.size() == 5);
  CHECK(k.buffers[1]->host() + k.offsets[1] == k.host_pages[1]);
  CHECK(v.buffers[1] == k.buffers[1]);  // K and V of the same tokens lie together
  CHECK(v.host_pages[1] == k.host_pages[1] + 2 * 64 * 8 * 2);
  CHECK(f.cache->reserve(301).code() == Code::context_full);
  const CacheBytes bytes = Cache::bytes(states(), 300);
  CHECK(bytes.kv == 2 * 5 * 2 * 64 * 8 * 2);
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

TEST_CASE("Cache: a fork shares pages until one of the two writes") {
  Fixture f;
  f.grow(100);
  const auto page = [](Cache& cache, std::size_t i) {
    return cache.table().states[1].host_pages[i];
  };
  for (std::size_t i = 0; i < 2; ++i) *page(*f.cache, i) = std::byte{7};
  *f.cache->table().states[0].host_pages[0] = std::byte{9};
  auto forked = f.cache->fork();
  REQUIRE(forked.ok());
  Cache& child = **forked;
  CHECK(child.size() == 100);
  CHECK(child.resume_from() == 100);
  CHECK(page(child, 0) == page(*f.cache, 0));
  CHECK(page(child, 1) == page(*f.cache, 1));
  CHECK(child.held().shared == child.held().kv);
  CHECK(*child.table().states[0].host_pages[0] == std::byte{9});  // the rings are copied
  CHECK(child.table().states[0].host_pages[0] != f.cache->table().states[0].host_pages[0]);

  REQUIRE(child.reserve(101).ok());  // token 100 lies in page 1
  CHECK(page(child, 0) == page(*f.cache, 0));
  CHECK(page(child, 1) != page(*f.cache, 1));
  CHECK(*page(child, 1) == std::byte{7});
  CHECK(child.held().shared == child.held().kv / 2);
  const std::byte* parents = page(*f.cache, 1);
  f.grow(101);  // nobody else holds the parent's page now
  CHECK(page(*f.cache, 1) == parents);

  child.truncate(3);
  REQUIRE(child.reserve(4).ok());
  CHECK(page(child, 0) != page(*f.cache, 0));
  CHECK(child.held().shared == 0);
  f.cache.reset();  // the parent goes first
  CHECK(*page(child, 0) == std::byte{7});
}

TEST_CASE("Cache: a rolled back fork lets go of the pages behind its end") {
  Fixture f;
  f.grow(300);
  auto forked = f.cache->fork();
  REQUIRE(forked.ok());
  const std::size_t one = (*forked)->held().kv / 5;
  (*forked)->truncate(70);
  CHECK((*forked)->held().kv == 2 * one);
  CHECK((*forked)->held().shared == 2 * one);
  CHECK(f.cache->held().kv == 5 * one);
  CHECK(f.cache->held().shared == 2 * one);
  f.cache->truncate(70);
  CHECK(f.cache->held().kv == 5 * one);  // its own pages stay for what comes next
}

TEST_CASE("Cache: tiles are sealed by position, and a short rollback reads what the ring holds") {
  Fixture f = tiled();
  f.grow(143);
  CHECK(f.cache->kv_sealed() == 0);
  f.grow(144);
  CHECK(f.cache->kv_sealed() == 16);
  f.grow(200);
  CHECK(f.cache->kv_sealed() == 64);
  CHECK(f.cache->reaches(195));
  f.cache->truncate(195);  // a replay from 191 needs rows from 48 on; the ring has 40 ..
  CHECK(f.cache->resume_from() == 191);
  CHECK(f.cache->kv_end() == 195);
  CHECK(f.cache->kv_sealed() == 64);
  f.grow(200);
  CHECK(f.cache->size() == 200);
}

TEST_CASE("Cache: a rollback beyond the ring of rows starts over") {
  Fixture f = tiled();
  f.grow(200);
  CHECK(f.cache->reaches(180));
  CHECK_FALSE(f.cache->reaches(179));  // a replay from 175 needs rows from 32 on
  f.cache->truncate(150);
  CHECK(f.cache->size() == 150);
  CHECK(f.cache->resume_from() == 0);
  CHECK(f.cache->kv_end() == 0);
  CHECK(f.cache->kv_sealed() == 0);
  const TokenId first[] = {0, 1, 2};
  f.cache->commit(0, first);
  CHECK(f.cache->kv_end() == 3);
  f.cache->truncate(100);  // in the middle of it: goes on from there
  CHECK(f.cache->resume_from() == 3);
  f.cache->truncate(2);
  CHECK(f.cache->resume_from() == 2);
  f.grow(220, 7);
  CHECK(f.cache->kv_sealed() == 80);
  f.cache->truncate(219);
  CHECK(f.cache->resume_from() == 219);
  f.cache->abandon_step(227);  // may have overwritten rows that are needed
  CHECK(f.cache->resume_from() == 215);
  f.cache->abandon_step(400);
  CHECK(f.cache->resume_from() == 0);
}

TEST_CASE("Cache: anchors serve rollbacks to about where they are") {
  Fixture f = tiled();
  const auto anchored = [&](std::int64_t at) {
    f.grow(at);
    f.cache->place_anchor();
  };
  f.scribble(1);
  anchored(300);
  const std::byte then = *f.cache->table().states[3].host_pages[0];
  const std::size_t one = 2 * 176 * 64 * 2 + kRing * 16 * 4;
  const std::size_t before = f.cache->held().kv;
  anchored(310);  // too close to the first one
  CHECK(f.cache->held().kv == before);
  CHECK(f.cache->keeps(200) == 0);
  anchored(500);
  CHECK(f.cache->held().kv > before + one);
  f.grow(900);
  f.scribble(2);
  CHECK(f.cache->keeps(885) == 885);
  CHECK(f.cache->keeps(860) == 500);
  CHECK(f.cache->keeps(499) == 499);
  CHECK(f.cache->keeps(400) == 300);
  CHECK(f.cache->keeps(299) == 299);
  f.cache->truncate(520);
  CHECK(f.cache->size() == 520);
  CHECK(f.cache->next_index() == 500);
  CHECK(f.cache->resume_from() == 500);
  CHECK(f.cache->kv_sealed() == 368);
  f.grow(520);
  f.cache->truncate(295);
  CHECK(f.cache->next_index() == 295);
  CHECK(f.cache->resume_from() == 291);
  CHECK(*f.cache->table().states[3].host_pages[0] == then);
  f.grow(400);  // other tokens from 295 on, for all the cache knows
  f.cache->truncate(299);
  CHECK(f.cache->next_index() == 295);  // the anchor is no longer one of token 299
  auto child = f.cache->fork();
  REQUIRE(child.ok());
  CHECK((*child)->keeps(290) == 290);
  f.cache->truncate(100);
  CHECK(f.cache->next_index() == 0);
  CHECK((*child)->keeps(290) == 290);
  for (std::int64_t at = 150; at < 900; at += 250) anchored(at);
  CHECK(f.cache->keeps(150) == 0);  // only the newest are kept
  CHECK(f.cache->keeps(500) == 400);
}

TEST_CASE("Cache: pages with tiles still to be sealed are not shared with a fork that writes") {
  Fixture f = tiled();
  f.grow(300);  // tiles up to 160 are sealed: page 2 takes the next
  auto forked = f.cache->fork();
  REQUIRE(forked.ok());
  Cache& child = **forked;
  CHECK(child.kv_sealed() == 160);
  const auto page = [](Cache& cache, std::size_t i) {
    return cache.table().states[1].host_pages[i];
  };
  REQUIRE(child.reserve(301).ok());
  CHECK(page(child, 1) == page(*f.cache, 1));
  CHECK(page(child, 2) != page(*f.cache, 2));
  CHECK(page(child, 4) != page(*f.cache, 4));
  child.truncate(290);
  CHECK(child.resume_from() == 286);
}

}  // namespace runnel::tests
