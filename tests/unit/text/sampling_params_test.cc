// Which sampling parameters are refused, and with what words.
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "runtime/text/sampler.h"
#include "tests/unit/text/sampling_draws.h"

namespace runnel {
namespace {

using test::greedy;
using test::kInfinity;
using test::kNan;

TEST_CASE("SamplingParams, AreValidByDefault") {
  CHECK(validate(SamplingParams()).ok());
  CHECK(validate(greedy()).ok());
}

TEST_CASE("SamplingParams, NameTheFieldThatIsOutOfRange") {
  struct Bad {
    const char* field;
    std::function<void(SamplingParams*, float)> set;
    std::vector<float> values;
  };
  const float nan = kNan;
  const Bad all[] = {
      {"temperature", [](auto* p, float v) { p->temperature = v; }, {-0.1f, nan, kInfinity}},
      {"top_p", [](auto* p, float v) { p->top_p = v; }, {-0.1f, 1.1f, nan}},
      {"min_p", [](auto* p, float v) { p->min_p = v; }, {-0.1f, 1.1f, nan}},
      {"typical_p", [](auto* p, float v) { p->typical_p = v; }, {-0.1f, 1.1f, nan}},
      {"xtc_probability", [](auto* p, float v) { p->xtc_probability = v; }, {-0.1f, 1.1f, nan}},
      {"xtc_threshold", [](auto* p, float v) { p->xtc_threshold = v; }, {-0.1f, 1.1f, nan}},
      {"dry_multiplier", [](auto* p, float v) { p->dry_multiplier = v; }, {-1, nan, kInfinity}},
      {"dry_base", [](auto* p, float v) { p->dry_base = v; }, {0.5f, nan, kInfinity}},
      {"repeat_penalty", [](auto* p, float v) { p->repeat_penalty = v; }, {0, -1, nan}},
      {"presence_penalty", [](auto* p, float v) { p->presence_penalty = v; }, {nan, -kInfinity}},
      {"frequency_penalty", [](auto* p, float v) { p->frequency_penalty = v; }, {nan, kInfinity}},
      {"mirostat_tau", [](auto* p, float v) { p->mirostat_tau = v; }, {-1, nan}},
      {"mirostat_eta", [](auto* p, float v) { p->mirostat_eta = v; }, {-1, nan}},
      {"top_k", [](auto* p, float v) { p->top_k = static_cast<int>(v); }, {-1}},
      {"dry_allowed_length",
       [](auto* p, float v) { p->dry_allowed_length = static_cast<int>(v); },
       {-1}},
      {"dry_last_n", [](auto* p, float v) { p->dry_last_n = static_cast<int>(v); }, {-2}},
      {"penalty_last_n", [](auto* p, float v) { p->penalty_last_n = static_cast<int>(v); }, {-2}},
      {"logit_bias",
       [](auto* p, float v) {
         p->logit_bias = {{3, v}};
       },
       {nan}},
      {"logit_bias",
       [](auto* p, float v) {
         p->logit_bias = {{-1, v}};
       },
       {1}},
  };
  for (const Bad& bad : all) {
    for (const float value : bad.values) {
      SamplingParams params;
      bad.set(&params, value);
      const Status status = validate(params);
      CAPTURE(std::string(bad.field));
      CAPTURE(value);
      CHECK(status.code() == Code::invalid_argument);
      CHECK(status.message().substr(0, std::string(bad.field).size()) == bad.field);
    }
  }
}

}  // namespace
}  // namespace runnel
