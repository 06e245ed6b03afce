// What a session promises: the same results however its tokens came in.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "tests/models/golden.h"

namespace {
std::atomic<long> n_allocations{0};
}  // namespace

// Counted for the test that a step allocates nothing.
void* operator new(std::size_t bytes) {
  ++n_allocations;
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace runnel::tests {
namespace {

/// Logits after `ids` in a fresh session.
std::vector<float> fresh_logits(Engine& engine,
                                std::span<const TokenId> ids,
                                std::int64_t chunk = 0) {
  const auto session = new_session(engine, {512, quant::plain_kv(DType::f32), chunk});
  append(*session, ids);
  return last_logits(*session);
}

/// Quantised weights run on kernels whose rows do not depend on the step; float weights may go
/// through a library in large steps, which rounds differently in the last bits.
const char* const kExactRecipe = "q8_0";

}  // namespace

TEST_CASE("Session: any chunking of the prompt gives the same logits") {
  for (const char* model : tiny_models())
    for (const std::string& backend : usable_backends()) {
      const auto engine = load_engine(converted(model, kExactRecipe), backend);
      const auto ids = random_ids(150, engine->model().config.n_vocab, 1);
      const std::vector<float> whole = fresh_logits(*engine, ids);
      for (std::int64_t chunk : {1, 2, 3, 7, 512}) {
        CAPTURE(model);
        CAPTURE(backend);
        CAPTURE(chunk);
        CHECK(fresh_logits(*engine, ids, chunk) == whole);
      }
    }
}

TEST_CASE("Session: float weights differ between chunkings by rounding only") {
  for (const std::string& backend : usable_backends()) {
    const auto engine = load_engine(converted("tiny-lfm2", "f32"), backend);
    const auto ids = random_ids(150, engine->model().config.n_vocab, 2);
    const std::vector<float> whole = fresh_logits(*engine, ids);
    for (std::int64_t chunk : {1, 7, 100}) {
      CAPTURE(backend);
      CHECK(error_in_deviations(fresh_logits(*engine, ids, chunk), whole) < 1e-4);
    }
  }
}

TEST_CASE("Session: the number of threads changes nothing") {
  for (const char* recipe : {"f32", "bf16", "q4_0", "q6_k"}) {
    const std::string model = std::string(recipe) == "q6_k" ? "tiny-llama" : "tiny-lfm2";
    const auto ids = random_ids(70, 320, 3);
    const std::vector<float> one =
        fresh_logits(*load_engine(converted(model, recipe), "cpu", 1), ids);
    for (int threads : {2, 3, 5}) {
      CAPTURE(recipe);
      CAPTURE(threads);
      CHECK(fresh_logits(*load_engine(converted(model, recipe), "cpu", threads), ids) == one);
    }
  }
}

TEST_CASE("Session: truncating anywhere and going on equals a fresh run") {
  for (const char* model : tiny_models())
    for (const std::string& backend : usable_backends()) {
      const auto engine = load_engine(converted(model, kExactRecipe), backend);
      const auto ids = random_ids(140, engine->model().config.n_vocab, 4);
      const auto other = random_ids(9, engine->model().config.n_vocab, 5);
      for (std::size_t keep : {0, 1, 2, 3, 5, 64, 65, 100, 130, 133, 138, 139}) {
        CAPTURE(model);
        CAPTURE(backend);
        CAPTURE(keep);
        const auto session = new_session(*engine);
        append(*session, ids);
        REQUIRE(session->truncate(static_cast<std::int64_t>(keep)).ok());
        append(*session, other);
        std::vector<TokenId> expected(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(keep));
        expected.insert(expected.end(), other.begin(), other.end());
        CHECK(last_logits(*session) == fresh_logits(*engine, expected));
      }
    }
}

TEST_CASE("Session: repeated and interrupted rollbacks stay exact") {
  const auto engine = load_engine(converted("tiny-lfm2", kExactRecipe), "cpu");
  const auto ids = random_ids(200, 320, 6);
  const auto session =
      new_session(*engine, {512, quant::plain_kv(DType::f32), 3});  // replays in several steps
  append(*session, ids);
  REQUIRE(session->truncate(150).ok());
  REQUIRE(session->truncate(90).ok());
  append(*session, std::span(ids).subspan(90, 1));
  CHECK(last_logits(*session) == fresh_logits(*engine, std::span(ids).first(91)));
  REQUIRE(session->truncate(60).ok());
  session->cancel();  // before the replay
  CHECK(session->append(std::span(ids).subspan(60, 5)).code() == Code::cancelled);
  CHECK(session->tokens().size() == 60);
  append(*session, std::span(ids).subspan(60, 5));
  CHECK(last_logits(*session) == fresh_logits(*engine, std::span(ids).first(65)));
  REQUIRE(session->truncate(59).ok());
  append(*session, std::span(ids).subspan(59, 2));
  CHECK(last_logits(*session) == fresh_logits(*engine, std::span(ids).first(61)));
}

TEST_CASE("Session: set_tokens computes only what changed") {
  const auto engine = load_engine(converted("tiny-lfm2moe", kExactRecipe), "cpu");
  const auto ids = random_ids(100, 320, 7);
  const auto session = new_session(*engine);
  CHECK(*session->set_tokens(std::span(ids).first(80)) == 0);
  CHECK(*session->set_tokens(ids) == 80);  // a follow-up
  std::vector<TokenId> edited = ids;
  edited[50] = (edited[50] + 1) % 320;
  CHECK(*session->set_tokens(edited) == 50);  // an edit
  CHECK(last_logits(*session) == fresh_logits(*engine, edited));
  CHECK(*session->set_tokens(edited) == 100);                      // nothing to do
  CHECK(*session->set_tokens(std::span(edited).first(70)) == 69);  // a regenerated reply
  CHECK(last_logits(*session) == fresh_logits(*engine, std::span(edited).first(70)));
}

TEST_CASE("Session: two sessions on one engine do not disturb each other") {
  const auto engine = load_engine(converted("tiny-lfm2", kExactRecipe), "cpu");
  const auto a = random_ids(60, 320, 8), b = random_ids(60, 320, 9);
  const auto first = new_session(*engine), second = new_session(*engine);
  for (std::size_t i = 0; i < a.size(); i += 5) {
    append(*first, std::span(a).subspan(i, 5));
    append(*second, std::span(b).subspan(i, 5));
  }
  CHECK(last_logits(*first) == fresh_logits(*engine, a));
  CHECK(last_logits(*second) == fresh_logits(*engine, b));
}

TEST_CASE("Session: a decode step allocates nothing") {
  for (const char* model : tiny_models()) {
    const auto engine = load_engine(converted(model, kExactRecipe), "cpu");
    const auto ids = random_ids(40, 320, 10);
    const auto session = new_session(*engine);
    append(*session, ids);
    append(*session, std::span(ids).first(1));  // compiles the decode plan
    (void)session->sample();
    const long before = n_allocations;
    for (TokenId id : std::span(ids).first(10)) (void)session->append(std::span(&id, 1));
    CAPTURE(model);
    CHECK(n_allocations == before);
  }
}

TEST_CASE("Session: mistakes are errors and leave the session as it was") {
  const auto engine = load_engine(converted("tiny-lfm2", kExactRecipe), "cpu");
  const auto ids = random_ids(20, 320, 11);
  const auto session = new_session(*engine, {32, quant::plain_kv(DType::f16), 0});
  CHECK(session->sample().status().code() == Code::invalid_argument);
  append(*session, ids);
  const TokenId bad = 320, negative = -1;
  CHECK(session->append(std::span(&bad, 1)).code() == Code::invalid_argument);
  CHECK(session->append(std::span(&negative, 1)).code() == Code::invalid_argument);
  CHECK(session->append({}).code() == Code::invalid_argument);
  CHECK(session->append(ids).code() == Code::context_full);
  CHECK(session->truncate(21).code() == Code::invalid_argument);
  CHECK(session->truncate(-1).code() == Code::invalid_argument);
  CHECK(session->tokens().size() == 20);
  append(*session, std::span(ids).first(12));
  CHECK(session->tokens().size() == 32);
  CHECK(Session::create(*engine, {5000, quant::plain_kv(DType::f16), 0}).status().code() ==
        Code::invalid_argument);
  CHECK(Session::create(*engine, {32, quant::plain_kv(DType::f16), 2049}).status().code() ==
        Code::invalid_argument);
}

}  // namespace runnel::tests
