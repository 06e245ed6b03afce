#include "converters/rope.h"

#include <doctest/doctest.h>

#include <string>

using namespace runnel;
using namespace runnel::converters;

namespace {

Result<RopeConfig> read(const char* text) {
  static Json json;
  json = Json::parse(text);
  return read_rope(*Fields::of(json, "config.json"), 1e6);
}

}  // namespace

TEST_CASE("ReadRope knows every place of theta") {
  CHECK(read("{}")->theta == 1e6);
  CHECK(read(R"({"theta":5})")->theta == 5);
  CHECK(read(R"({"rope_theta":5e6})")->theta == 5e6);
  CHECK(read(R"({"rope_parameters":{"rope_theta":7,"rope_type":"default"}})")->theta == 7);
  CHECK(read(R"({"rope_theta":5,"rope_parameters":{"rope_theta":7}})")->theta == 7);
  CHECK(read(R"({"rope_theta":5,"rope_parameters":null,"rope_scaling":null})")->theta == 5);
}

TEST_CASE("ReadRope reads the scalings it supports and names the others") {
  const auto linear = read(R"({"rope_scaling":{"type":"linear","factor":4.0}})");
  CHECK(linear->kind == RopeKind::linear);
  CHECK(linear->factor == 4);
  const auto llama3 = read(R"({"rope_parameters":{"rope_type":"llama3","factor":8,
      "low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":8192}})");
  CHECK(llama3->kind == RopeKind::llama3);
  CHECK(llama3->original_context == 8192);
  const Status yarn = read(R"({"rope_scaling":{"rope_type":"yarn","factor":4}})").status();
  CHECK(yarn.code() == Code::unsupported);
  CHECK(yarn.message().find("'yarn'") != std::string::npos);
  CHECK(read(R"({"partial_rotary_factor":0.5})").status().code() == Code::unsupported);
  CHECK(read(R"({"rope_parameters":{"full_attention":{"rope_theta":1}}})").status().code() ==
        Code::unsupported);
  for (const char* bad :
       {R"({"rope_theta":0})", R"({"rope_theta":-1})", R"({"rope_theta":"5"})",
        R"({"rope_theta":1e300})", R"({"rope_parameters":[]})", R"({"rope_scaling":"linear"})",
        R"({"rope_scaling":{"type":"linear","factor":0}})", R"({"rope_scaling":{"type":3}})",
        R"({"rope_scaling":{"type":"llama3","low_freq_factor":4,"high_freq_factor":4}})"}) {
    CAPTURE(bad);
    CHECK(read(bad).status().code() == Code::corrupt);
  }
}

TEST_CASE("Llama3Divisors leave high frequencies, divide low ones and blend between") {
  RopeConfig rope;
  rope.kind = RopeKind::llama3;
  rope.theta = 500000;
  rope.factor = 8;
  rope.low_freq_factor = 1;
  rope.high_freq_factor = 4;
  rope.original_context = 8192;
  const std::vector<float> divisors = llama3_divisors(rope, 128);
  REQUIRE(divisors.size() == 64);
  CHECK(divisors.front() == 1.0f);
  CHECK(divisors.back() == 8.0f);
  for (std::size_t i = 1; i < divisors.size(); ++i) CHECK(divisors[i] >= divisors[i - 1]);
  // Dimension 30: wavelength 2 pi 500000^(60/128) = 2948.3, 8192 / 2948.3 = 2.7785, smooth 0.5928,
  // 1 / (0.4072 / 8 + 0.5928) = 1.5534.
  CHECK(divisors[30] == doctest::Approx(1.5534146).epsilon(1e-5));
}
