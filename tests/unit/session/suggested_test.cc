// What a model file suggests for sampling.
#include "runtime/session/suggested.h"

#include <functional>
#include <limits>

#include "tests/unit/models/files.h"

namespace runnel::tests {
namespace {

Result<SamplingParams> read(const std::function<void(GgufWriter&)>& keys) {
  return read_suggested_sampling(make_file({}, keys));
}

}  // namespace

TEST_CASE("SuggestedSampling: keys of the file replace the defaults") {
  const SamplingParams defaults;
  const auto none = read([](GgufWriter&) {});
  REQUIRE(none.ok());
  CHECK(none->temperature == defaults.temperature);
  CHECK(none->top_k == defaults.top_k);
  const auto all = read([](GgufWriter& writer) {
    writer.set_f32("runnel.sampling.temperature", 0.25f);
    writer.set_f32("runnel.sampling.top_p", 0.5f);
    writer.set_f32("runnel.sampling.min_p", 0.125f);
    writer.set_f32("runnel.sampling.repeat_penalty", 1.5f);
    writer.set_i32("runnel.sampling.top_k", 40);
  });
  REQUIRE_MESSAGE(all.ok(), all.status().message());
  CHECK(all->temperature == 0.25f);
  CHECK(all->top_p == 0.5f);
  CHECK(all->min_p == 0.125f);
  CHECK(all->repeat_penalty == 1.5f);
  CHECK(all->top_k == 40);
  CHECK(all->penalty_last_n == defaults.penalty_last_n);
}

TEST_CASE("SuggestedSampling: values out of range and wrong types are errors that name them") {
  for (const float bad : {-1.0f, std::numeric_limits<float>::quiet_NaN()})
    for (const char* name : {"temperature", "top_p", "min_p", "repeat_penalty"}) {
      CAPTURE(name);
      const auto made = read(
          [&](GgufWriter& writer) { writer.set_f32(std::string("runnel.sampling.") + name, bad); });
      REQUIRE_FALSE(made.ok());
      CHECK(made.status().code() == Code::corrupt);
      CHECK(made.status().message().find(name) != std::string::npos);
    }
  const auto text =
      read([](GgufWriter& writer) { writer.set_string("runnel.sampling.top_k", "many"); });
  REQUIRE_FALSE(text.ok());
  CHECK(text.status().message().find("top_k") != std::string::npos);
}

}  // namespace runnel::tests
