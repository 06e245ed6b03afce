// What an Engine makes of a file before any token is computed. What it computes is tested on whole
// models, in tests/models and tests/api.
#include "runtime/session/engine.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/unit/models/files.h"

namespace runnel::tests {
namespace {

using Keys = std::function<void(GgufWriter&)>;

GgufFile small_file(const Keys& more = {}) {
  return make_file(small_lfm2(), [&](GgufWriter& writer) {
    write_small_keys(writer);
    if (more) more(writer);
  });
}

EngineOptions on_reference() {
  EngineOptions options;
  options.backend = "reference";
  return options;
}

}  // namespace

TEST_CASE("Engine: without tokenizer and template it says so when they are needed") {
  const auto engine = Engine::create(small_file(), on_reference());
  REQUIRE_MESSAGE(engine.ok(), engine.status().message());
  CHECK((*engine)->tokenizer() == nullptr);
  CHECK((*engine)->template_source().empty());
  const auto text = (*engine)->render_chat(nlohmann::ordered_json::array(), {}, true);
  CHECK(text.status().code() == Code::not_found);
}

TEST_CASE("Engine: a broken chat template is logged and fails only where it is used") {
  std::vector<std::string> lines;
  EngineOptions options = on_reference();
  options.log = Log(
      [&](LogLevel level, std::string_view line) {
        CHECK(level == LogLevel::warn);
        lines.emplace_back(line);
      },
      LogLevel::warn);
  const auto engine = Engine::create(
      small_file([](GgufWriter& w) { w.set_string("tokenizer.chat_template", "{% if"); }), options);
  REQUIRE_MESSAGE(engine.ok(), engine.status().message());
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find("chat template") != std::string::npos);
  const auto text = (*engine)->render_chat(nlohmann::ordered_json::array(), {}, true);
  REQUIRE_FALSE(text.ok());
  CHECK(text.status().message() == lines[0]);
}

TEST_CASE("Engine: the file's sampling is suggested, and refused where it is impossible") {
  const auto engine = Engine::create(
      small_file([](GgufWriter& w) { w.set_f32("runnel.sampling.temperature", 0.25f); }),
      on_reference());
  REQUIRE_MESSAGE(engine.ok(), engine.status().message());
  CHECK((*engine)->suggested_sampling().temperature == 0.25f);
  const auto bad = Engine::create(
      small_file([](GgufWriter& w) { w.set_f32("runnel.sampling.temperature", -1.0f); }),
      on_reference());
  CHECK(bad.status().code() == Code::corrupt);
}

TEST_CASE("Engine: the default context is the model's, at most 8192 tokens") {
  const auto of = [](std::uint32_t length) {
    const auto engine =
        Engine::create(small_file([&](GgufWriter& w) { w.set_u32("lfm2.context_length", length); }),
                       on_reference());
    REQUIRE_MESSAGE(engine.ok(), engine.status().message());
    return (*engine)->default_context();
  };
  CHECK(of(100) == 100);
  CHECK(of(8192) == 8192);
  CHECK(of(131072) == 8192);
}

TEST_CASE("Engine: unknown backends are named, with those there are") {
  EngineOptions options;
  options.backend = "abacus";
  const auto engine = Engine::create(small_file(), options);
  CHECK(engine.status().code() == Code::invalid_argument);
  CHECK(engine.status().message().find("abacus") != std::string::npos);
  CHECK(engine.status().message().find("reference") != std::string::npos);
}

TEST_CASE("Engine: loading reports growing fractions up to one and can be stopped") {
  EngineOptions options = on_reference();
  std::vector<float> seen;
  options.on_progress = [&](float done) {
    seen.push_back(done);
    return true;
  };
  REQUIRE(Engine::create(small_file(), options).ok());
  REQUIRE(seen.size() > 2);
  CHECK(std::is_sorted(seen.begin(), seen.end()));
  CHECK(seen.back() == 1.0f);
  options.on_progress = [](float done) { return done < 0.5f; };
  CHECK(Engine::create(small_file(), options).status().code() == Code::cancelled);
}

TEST_CASE("Engine: the memory plan grows with the context, and only its cache does") {
  const auto plan = [](std::int64_t capacity, DType rows) {
    const auto made =
        Engine::plan_memory(small_file(), on_reference(), capacity, quant::plain_kv(rows));
    REQUIRE_MESSAGE(made.ok(), made.status().message());
    return *made;
  };
  const MemoryPlan small = plan(512, DType::f32), large = plan(1024, DType::f32);
  // One attention layer: a K and a V row of 32 values per token.
  CHECK(large.kv - small.kv == std::size_t{1024 - 512} * 2 * 32 * 4);
  CHECK(plan(1024, DType::f16).kv * 2 == large.kv);
  CHECK(small.state == large.state);
  CHECK(small.arena == large.arena);
  CHECK(small.mapped == large.mapped);
  CHECK(plan(0, DType::f32).kv == large.kv);  // the model's context
}

}  // namespace runnel::tests
