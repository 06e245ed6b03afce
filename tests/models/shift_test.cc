// A context that is full and goes on: what is dropped, and that only the tokens decide about it.
#include <doctest/doctest.h>

#include "tests/models/golden.h"
#include "tests/unit/temp_dir.h"

namespace runnel::tests {
namespace {

constexpr std::int64_t kContext = 384, kKept = 64, kDrop = 128;  // SOURCE: shift.h

SessionOptions shifting(std::int64_t chunk = 0, std::int64_t context = kContext) {
  return {context, quant::plain_kv(DType::f32), chunk, ContextPolicy::shift, 0};
}

std::vector<float> shifted_logits(Engine& engine, std::span<const TokenId> ids) {
  const auto session = new_session(engine, shifting());
  append(*session, ids);
  return last_logits(*session);
}

}  // namespace

TEST_CASE("Shift: the tokens decide, not how they came in") {
  for (const char* model : tiny_models())
    for (const std::string& backend : usable_backends()) {
      CAPTURE(model);
      CAPTURE(backend);
      const auto engine = load_engine(converted(model, "q8_0"), backend);
      const auto ids = random_ids(700, 320, 1);
      const auto whole = shifted_logits(*engine, ids);
      const auto unshifted = new_session(*engine, {kContext, quant::plain_kv(DType::f32), 0});
      append(*unshifted, std::span(ids).first(kContext));
      const std::size_t full = unshifted->memory().kv;
      for (std::int64_t chunk : {1, 100}) {
        CAPTURE(chunk);
        const auto session = new_session(*engine, shifting(chunk));
        append(*session, ids);
        CHECK(last_logits(*session) == whole);
        CHECK(session->n_dropped() == 3 * kDrop);
        CHECK(session->tokens().size() == 700);
        CHECK(session->memory().kv <= full);
      }
      for (std::size_t keep : {10, 384, 520, 640, 641, 659, 660, 699}) {
        CAPTURE(keep);
        const auto session = new_session(*engine, shifting());
        append(*session, ids);
        REQUIRE(session->truncate(static_cast<std::int64_t>(keep)).ok());
        append(*session, std::span(ids).subspan(keep));
        CHECK(last_logits(*session) == whole);
      }
    }
}

// The same by hand: a cache with room for everything, whose page table leaves out what is dropped.
TEST_CASE("Shift: dropped tokens are not attended, the others keep their positions") {
  for (const char* model : tiny_models())
    for (const std::string& backend : usable_backends()) {
      CAPTURE(model);
      CAPTURE(backend);
      const auto engine = load_engine(converted(model, "q8_0"), backend);
      const auto ids = random_ids(450, 320, 2);
      auto cache = engine->new_cache(1000, quant::plain_kv(DType::f32), {});
      REQUIRE(cache.ok());
      REQUIRE((*cache)->reserve(450).ok());
      LastLogits logits;
      const auto run = [&](std::int32_t first, std::int32_t n, const StateTable& table,
                           std::int32_t gap) {
        const auto step =
            std::span(ids).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(n));
        REQUIRE(engine
                    ->run(ShapeClass::prefill, quant::plain_kv(DType::f32),
                          {first, n, first, 0, gap}, table, step, logits)
                    .ok());
      };
      run(0, 384, (*cache)->table(), 0);
      const StateTable all = (*cache)->table();
      std::vector<std::vector<std::byte*>> pages;
      std::vector<StateBinding> bindings;
      for (const StateBinding& state : all.states) {
        pages.emplace_back(state.host_pages.begin(), state.host_pages.end());
        if (pages.back().size() > 1)
          pages.back().erase(pages.back().begin() + 1, pages.back().begin() + 1 + kDrop / 64);
      }
      for (const auto& list : pages) bindings.push_back({list, {}, {}});
      run(384, 66, {bindings}, kDrop);
      REQUIRE(engine->fetch(logits).ok());
      CHECK(shifted_logits(*engine, ids) == logits.values);
      const auto unshifted = new_session(*engine, {1000, quant::plain_kv(DType::f32), 0});
      append(*unshifted, ids);
      CHECK(last_logits(*unshifted) != logits.values);
    }
}

TEST_CASE("Shift: at the model's last position the newest tokens are computed anew") {
  for (const char* model : {"tiny-lfm2", "tiny-llama"}) {
    CAPTURE(model);
    const auto engine = load_engine(converted(model, "q8_0"), "cpu");
    REQUIRE(engine->model().config.context_length == 4096);
    const auto ids = random_ids(4300, 320, 3);
    const auto session = new_session(*engine, shifting());
    append(*session, ids);
    const ShiftPlan plan{kContext, kKept, 4096};
    const Shift end = shift_at(plan, 4299);
    REQUIRE(end.epoch > kKept);
    CHECK(end.gap == end.hole_end - end.epoch);
    CHECK(session->n_dropped() == end.hole_end - kKept);
    // From an epoch on the sequence is as if it had begun with the kept tokens and those of it.
    std::vector<TokenId> rest(ids.begin(), ids.begin() + kKept);
    rest.insert(rest.end(), ids.begin() + end.epoch, ids.end());
    CHECK(last_logits(*session) == shifted_logits(*engine, rest));
    REQUIRE(session->truncate(4200).ok());
    append(*session, std::span(ids).subspan(4200));
    CHECK(last_logits(*session) == shifted_logits(*engine, rest));
  }
}

TEST_CASE("Shift: a context as long as the model's goes on, too") {
  const auto engine = load_engine(converted("tiny-lfm2", "q8_0"), "cpu");
  const auto ids = random_ids(4100, 320, 4);
  const auto session = new_session(*engine, shifting(0, 4096));
  append(*session, std::span(ids).first(4096));
  CHECK(session->n_dropped() == 0);
  append(*session, std::span(ids).subspan(4096));
  CHECK(session->n_dropped() == 63 / 2 * 64);
  std::vector<TokenId> rest(ids.begin(), ids.begin() + 64);
  rest.insert(rest.end(), ids.begin() + 64 + session->n_dropped(), ids.end());
  const auto fresh = new_session(*engine, {4096, quant::plain_kv(DType::f32), 0});
  append(*fresh, rest);
  CHECK(last_logits(*session) == last_logits(*fresh));
}

TEST_CASE("Shift: rows of logits are handed over once each, and a cancelled append goes on") {
  const auto engine = load_engine(converted("tiny-lfm2", "q8_0"), "cpu");
  const auto ids = random_ids(4200, 320, 5);
  const auto session = new_session(*engine, shifting());
  std::int64_t next = 0;
  const Status status = session->evaluate(
      ids, [&](std::int64_t first, std::int64_t n, std::span<const float> logits) {
        CHECK(first == next);
        CHECK(logits.size() == static_cast<std::size_t>(n) * 320);
        next += n;
        return true;
      });
  CHECK(status.ok());
  CHECK(next == 4200);

  const auto stopped = new_session(*engine, shifting());
  append(*stopped, std::span(ids).first(600));
  REQUIRE(stopped->truncate(400).ok());  // must begin again
  stopped->cancel();
  CHECK(stopped->append(std::span(ids).subspan(400, 10)).code() == Code::cancelled);
  CHECK(stopped->tokens().size() == 400);
  append(*stopped, std::span(ids).subspan(400, 100));
  CHECK(last_logits(*stopped) == shifted_logits(*engine, std::span(ids).first(500)));
}

TEST_CASE("Shift: forks and files of a shifted session go on like it") {
  const test::TempDir dir;
  const auto engine = load_engine(converted("tiny-lfm2", "q8_0"), "cpu");
  const auto ids = random_ids(600, 320, 6), rest = random_ids(200, 320, 7);
  const auto session = new_session(*engine, shifting());
  append(*session, ids);
  auto child = session->fork();
  REQUIRE(child.ok());
  REQUIRE(session->save(dir / "s", "").ok());
  const auto restored = new_session(*engine, shifting());
  REQUIRE(restored->load(dir / "s").ok());
  CHECK(restored->n_dropped() == session->n_dropped());
  for (Session* other : {child->get(), restored.get()}) {
    append(*other, rest);
    REQUIRE(other->truncate(790).ok());
    append(*other, std::span(rest).last(10));
  }
  append(*session, rest);
  CHECK(last_logits(**child) == last_logits(*session));
  CHECK(last_logits(*restored) == last_logits(*session));
  for (const SessionOptions& options :
       {SessionOptions{384, quant::plain_kv(DType::f32), 0}, shifting(0, 448)}) {
    const auto other = new_session(*engine, options);
    CHECK(other->load(dir / "s").status().code() == Code::invalid_argument);
  }
  const auto keeps_more =
      new_session(*engine, {384, quant::plain_kv(DType::f32), 0, ContextPolicy::shift, 65});
  REQUIRE(keeps_more->load(dir / "s").ok());  // what is kept comes from the file
  append(*keeps_more, rest);
  CHECK(last_logits(*keeps_more) == last_logits(*session));
  REQUIRE(session->truncate(500).ok());  // must begin again; the file says so
  REQUIRE(session->save(dir / "t", "").ok());
  REQUIRE(restored->load(dir / "t").ok());
  append(*session, rest);
  append(*restored, rest);
  CHECK(last_logits(*restored) == last_logits(*session));
}

TEST_CASE("Shift: a generation goes on, and says what was dropped") {
  const auto engine = load_engine(converted("tiny-lfm2", "q8_0"), "cpu");
  for (const ContextPolicy policy : {ContextPolicy::stop, ContextPolicy::shift}) {
    SessionOptions how = shifting();
    how.policy = policy;
    const auto session = new_session(*engine, how);
    append(*session, random_ids(300, 320, 8));
    GenerateOptions options;
    options.max_tokens = 300;
    options.ignore_eog = true;
    const auto result = session->generate(options);
    REQUIRE(result.ok());
    const bool stops = policy == ContextPolicy::stop;
    CHECK(result->stop == (stops ? StopReason::context_full : StopReason::limit));
    CHECK(result->n_dropped == (stops ? 0 : 2 * kDrop));
  }
  CHECK(Session::create(*engine, shifting(0, 319)).status().code() == Code::invalid_argument);
  CHECK(Session::create(*engine, shifting(0, 320)).ok());
  CHECK(Session::create(*engine, {384, quant::plain_kv(DType::f32), 0, ContextPolicy::shift, 129})
            .status()
            .code() == Code::invalid_argument);
}

}  // namespace runnel::tests
