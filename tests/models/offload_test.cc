// A model whose last layers only are on a backend with memory of its own: each backend is handed
// the states of the other too, and must leave them alone.
#include <doctest/doctest.h>

#include "tests/models/golden.h"

namespace runnel::tests {

TEST_CASE("Offload: some layers on a device give nearly the logits of all on it") {
  const auto ids = random_ids(70, 320, 8);
  for (const std::string& backend : usable_backends()) {
    EngineOptions options;
    options.backend = backend;
    options.gpu_layers = 1;
    auto file = GgufFile::open(converted("tiny-lfm2", "f32"));
    REQUIRE(file.ok());
    auto engine = Engine::create(*std::move(file), options);
    REQUIRE_MESSAGE(engine.ok(), engine.status().message());
    const auto whole = load_engine(converted("tiny-lfm2", "f32"), backend);
    for (const char* kv : {"f16", "kv4"}) {
      const SessionOptions session{128, *quant::parse_kv_policy(kv), 64};
      const auto split = new_session(**engine, session), all = new_session(*whole, session);
      append(*split, ids);
      append(*all, ids);
      CAPTURE(backend);
      CAPTURE(kv);
      CHECK(error_in_deviations(last_logits(*split), last_logits(*all)) < 0.05);
    }
  }
}

}  // namespace runnel::tests
