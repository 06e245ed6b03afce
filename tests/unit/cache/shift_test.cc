#include "runtime/cache/shift.h"

#include <doctest/doctest.h>

#include "tests/unit/cache/fixture.h"

namespace runnel::tests {

TEST_CASE("Shift: every token has a slot, a position, and the newest tokens before it") {
  for (const ShiftPlan plan :
       {ShiftPlan{320, 64, 1000}, ShiftPlan{320, 64, 320}, ShiftPlan{640, 128, 100000},
        ShiftPlan{384, 128, 400}, ShiftPlan{1024, 64, 1025}, ShiftPlan{384, 64, 512}}) {
    Shift last = no_shift(plan);
    int n_drops = 0, n_epochs = 0;
    for (std::int64_t index = 0; index < 5000; ++index) {
      const Shift now = shift_at(plan, index);
      const std::int64_t slot = index < plan.kept ? index : index - (now.hole_end - plan.kept);
      const std::int64_t position = slot + now.gap;
      CAPTURE(plan.slots);
      CAPTURE(index);
      bool right = slot >= 0 && slot < plan.slots && position < plan.max_position && now.gap >= 0 &&
                   now.hole_end % kPageTokens == 0 && now.hole_end <= index + plan.kept &&
                   now.epoch <= now.hole_end && now.hole_end >= last.hole_end;
      if (now.hole_end > plan.kept)  // at least half of what is loose is there
        right = right && index - now.hole_end >= (plan.slots - plan.kept) / 2 - kPageTokens;
      if (now.epoch == last.epoch && now.hole_end != last.hole_end) {
        ++n_drops;  // positions go on
        right = right && now.gap - last.gap == now.hole_end - last.hole_end;
      }
      if (now.epoch != last.epoch) {
        ++n_epochs;
        right = right && now.gap == 0 && now.epoch == now.hole_end;
      }
      if (!right) FAIL("slot " << slot << " position " << position << " hole " << now.hole_end);
      last = now;
    }
    CHECK(n_epochs + n_drops > 0);
    CHECK((n_epochs > 0) == (plan.max_position < 5000));
    CHECK((n_drops > 0) == (plan.max_position > plan.slots));
  }
}

TEST_CASE("Cache: a full cache drops whole pages behind the kept ones") {
  Fixture f;
  auto made = Cache::create(states(), {{f.backend.get()}, {}},
                            {384, kKernel, kConvLayers, ShiftPlan{384, 64, 100000}});
  REQUIRE(made.ok());
  f.cache = *std::move(made);
  const auto run_to = [&](std::int64_t end, std::int64_t most) {
    while (f.cache->next_index() < end) {
      const auto n = f.cache->begin_step(end, most);
      REQUIRE(n.ok());
      std::vector<TokenId> ids;
      for (std::int64_t i = 0; i < *n; ++i)
        ids.push_back(static_cast<TokenId>(f.cache->index_of(f.cache->resume_from() + i)));
      f.cache->commit(f.cache->resume_from(), ids);
    }
  };
  run_to(384, 100);
  CHECK(f.cache->dropped() == 0);
  const auto pages = [&](std::size_t i) { return f.cache->table().states[1].host_pages[i]; };
  const std::byte *kept = pages(0), *third = pages(3);
  run_to(385, 100);
  CHECK(f.cache->dropped() == 128);
  CHECK(f.cache->gap() == 128);
  CHECK(f.cache->size() == 385);
  CHECK(f.cache->kv_end() == 257);
  CHECK(pages(0) == kept);
  CHECK(pages(1) == third);
  f.cache->truncate(384);  // the ring reaches this far, but the dropped pages are missing
  CHECK(f.cache->dropped() == 0);
  CHECK(f.cache->next_index() == 64);
  CHECK(f.cache->resume_from() == 60);
  run_to(500, 7);
  CHECK(f.cache->dropped() == 128);
  f.cache->truncate(400);  // nothing that counts for it was dropped since
  CHECK(f.cache->next_index() == 400);
  CHECK(f.cache->index_of(f.cache->resume_from()) == 396);
  f.cache->truncate(385);  // a replay would begin before the drop, with tokens that saw more
  CHECK(f.cache->next_index() == 64);
  run_to(386, 100);
  f.cache->abandon_step(387);
  CHECK(f.cache->next_index() == 64);
  run_to(400, 100);
  f.cache->set_kept(100);
  CHECK(f.cache->next_index() == 64);
  CHECK(f.cache->size() == 400);
  run_to(1000, 50);
  CHECK(f.cache->dropped() == 640);
  f.cache->truncate(0);
  CHECK(f.cache->next_index() == 0);
  CHECK(f.cache->dropped() == 0);
}

}  // namespace runnel::tests
