// Logits stay where they were computed until someone asks for them.
#include <doctest/doctest.h>

#include <algorithm>

#include "tests/models/golden.h"

namespace runnel::tests {
namespace {

std::vector<float> lone_logits(Engine& engine, std::span<const TokenId> ids) {
  const auto session = new_session(engine);
  append(*session, ids);
  return last_logits(*session);
}

}  // namespace

TEST_CASE("Logits: with temperature 0 the token is the highest of them") {
  for (const char* model : tiny_models())
    for (const std::string& backend : usable_backends()) {
      CAPTURE(model);
      CAPTURE(backend);
      const auto engine = load_engine(converted(model, "q8_0"), backend);
      const auto session = new_session(*engine);
      SamplingParams greedy;
      greedy.temperature = 0.0f;
      session->set_sampling(greedy);
      append(*session, random_ids(40, 320, 11));
      for (int i = 0; i < 20; ++i) {
        const auto id = session->sample();
        REQUIRE(id.ok());
        const std::vector<float> logits = last_logits(*session);
        CHECK(*id == std::ranges::max_element(logits) - logits.begin());
        append(*session, std::span(&*id, 1));
      }
    }
}

TEST_CASE("Logits: steps of other sessions do not change them") {
  for (const std::string& backend : usable_backends()) {
    CAPTURE(backend);
    const auto engine = load_engine(converted("tiny-lfm2", "q8_0"), backend);
    const auto ids = random_ids(60, 320, 12), other_ids = random_ids(50, 320, 13);
    const std::vector<float> alone = lone_logits(*engine, ids);
    const std::vector<float> other_alone = lone_logits(*engine, other_ids);
    const auto session = new_session(*engine);
    auto other = new_session(*engine), gone = new_session(*engine);
    append(*session, ids);
    append(*other, other_ids);
    const auto all = other->evaluate(random_ids(3, 320, 14), [](auto...) { return true; });
    REQUIRE(all.ok());
    REQUIRE(other->truncate(0).ok());
    append(*other, other_ids);
    CHECK(last_logits(*session) == alone);
    append(*gone, ids);
    gone.reset();  // with its logits still unread
    append(*session, std::span(ids).first(1));
    CHECK(last_logits(*other) == other_alone);
  }
}

}  // namespace runnel::tests
