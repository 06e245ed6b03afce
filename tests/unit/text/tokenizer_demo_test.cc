#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "runtime/text/tokenizer.h"
#include "tests/unit/text/test_vocabulary.h"

namespace runnel {
namespace {

using test::Ids;

TEST_CASE("Tokenizer, GivesTheGoldenIdsOfTheDemoModel") {
  const Tokenizer tokenizer = test::must_load(test::demo_spec());
  CHECK(tokenizer.n_vocab() == 8192);
  std::ifstream in(RUNNEL_SOURCE_DIR "/tests/unit/text/data/tokenizer_cases.json");
  const nlohmann::json cases = nlohmann::json::parse(in, nullptr, false);
  REQUIRE(cases.is_array());
  REQUIRE(cases.size() == 29);
  for (const nlohmann::json& one : cases) {
    const auto text = one["text"].get<std::string>();
    CAPTURE(text);
    const Ids ids = tokenizer.encode(text, {Bos::never, Specials::parse});
    CHECK(ids == one["ids"].get<Ids>());
    CHECK(tokenizer.encode(text, {Bos::always, Specials::parse}) == one["ids_bos"].get<Ids>());
    CHECK(tokenizer.encode(text, {Bos::as_model, Specials::parse}) == one["ids_bos"].get<Ids>());
    CHECK(tokenizer.decode(ids, Tokenizer::Controls::keep) == one["decoded"].get<std::string>());
  }
}

}  // namespace
}  // namespace runnel
