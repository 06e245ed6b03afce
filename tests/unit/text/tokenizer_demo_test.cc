#include <nlohmann/json.hpp>
#include <random>

#include "runtime/text/tokenizer.h"
#include "tests/unit/text/test_data.h"
#include "tests/unit/text/test_vocabulary.h"

namespace runnel {
namespace {

using test::Ids;

TEST_CASE("Tokenizer, GivesTheGoldenIdsOfTheDemoModel") {
  const Tokenizer tokenizer = test::must_load(test::demo_spec());
  CHECK(tokenizer.n_vocab() == 8192);
  const nlohmann::ordered_json cases = test::read_data_json("tokenizer_cases.json");
  REQUIRE(cases.is_array());
  REQUIRE(cases.size() == 29);
  for (const nlohmann::ordered_json& one : cases) {
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
