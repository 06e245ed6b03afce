// Ceilings of the hardware and the work of a step.
#include <nlohmann/json.hpp>

#include "tests/api/handles.h"

namespace runnel::tests {

TEST_CASE("Api: ceilings of the hardware are measured") {
  const EnginePtr engine = demo_engine();
  runnel_ceilings ceilings;
  runnel_ceilings_init(&ceilings);
  REQUIRE_MESSAGE(runnel_engine_ceilings(engine.get(), &ceilings) == RUNNEL_OK,
                  runnel_last_error());
  // Between a tenth of a slow phone's core and a thousand fast servers.
  CHECK(ceilings.read_bytes > 1e7);
  CHECK(ceilings.read_bytes < 1e15);
  CHECK(ceilings.int8_ops > 1e7);
  CHECK(ceilings.int8_ops < 1e18);
  CHECK(ceilings.f32_ops > 1e7);
  CHECK(ceilings.f32_ops < 1e18);
  CHECK(ceilings.bf16_ops >= 0);
  CHECK(runnel_engine_ceilings(nullptr, &ceilings) == RUNNEL_ERROR_INVALID_ARGUMENT);
  CHECK(runnel_engine_ceilings(engine.get(), nullptr) == RUNNEL_ERROR_INVALID_ARGUMENT);
}

TEST_CASE("Api: a backend without measured ceilings says so") {
  runnel_engine_options options = demo_options();
  options.backend = "reference";
  runnel_engine* raw = nullptr;
  REQUIRE(runnel_engine_create(&options, &raw) == RUNNEL_OK);
  const EnginePtr engine(raw, runnel_engine_destroy);
  runnel_ceilings ceilings;
  runnel_ceilings_init(&ceilings);
  CHECK(runnel_engine_ceilings(engine.get(), &ceilings) == RUNNEL_ERROR_UNSUPPORTED);
}

TEST_CASE("Api: the work of a step is counted") {
  const EnginePtr engine = demo_engine();
  runnel_step_cost one, many;
  runnel_step_cost_init(&one);
  runnel_step_cost_init(&many);
  const auto cost = [&](int32_t position, int32_t n_tokens, runnel_step_cost* result) {
    return runnel_engine_step_cost(engine.get(), RUNNEL_KV_F16, position, n_tokens, result);
  };
  REQUIRE(cost(0, 1, &one) == RUNNEL_OK);
  REQUIRE(cost(99, 101, &many) == RUNNEL_OK);
  runnel_model_info info;
  runnel_model_info_init(&info);
  REQUIRE(runnel_engine_info(engine.get(), &info) == RUNNEL_OK);
  CHECK(one.bf16_ops == 0);
  // All weights are multiplied once, but for norms and filters.
  const double all = 2.0 * static_cast<double>(info.n_parameters);
  const double ops = one.int8_ops + one.f32_ops;
  CHECK(ops < all);
  CHECK(ops > 0.99 * all);
  const double head = 2.0 * info.n_vocab * info.d_model;
  CHECK(many.int8_ops + many.f32_ops == doctest::Approx(101 * (ops - head) + head));
  CHECK(one.kv_bytes == 3 * 2 * 2 * 64 * 2);  // layers x (K, V) x heads x dim x f16
  CHECK(many.kv_bytes == 200 * one.kv_bytes);
  CHECK(cost(-1, 1, &one) == RUNNEL_ERROR_INVALID_ARGUMENT);
  CHECK(cost(0, 0, &one) == RUNNEL_ERROR_INVALID_ARGUMENT);
  CHECK(runnel_engine_step_cost(nullptr, RUNNEL_KV_F16, 0, 1, &one) ==
        RUNNEL_ERROR_INVALID_ARGUMENT);
}

TEST_CASE("Api: a profile counts the steps between start and stop") {
  const EnginePtr engine = demo_engine();
  const SessionPtr session = demo_session(engine.get());
  const std::vector<int32_t> ids(20, 77);
  const auto append = [&](size_t n) {
    REQUIRE(runnel_session_append(session.get(), ids.data(), n) == RUNNEL_OK);
  };
  const auto stop = [&] {
    char* text = nullptr;
    REQUIRE(runnel_engine_profile_stop(engine.get(), &text) == RUNNEL_OK);
    const nlohmann::json profile = nlohmann::json::parse(text);
    runnel_free(text);
    return profile;
  };
  append(1);
  CHECK(stop()["steps"] == 0);  // never started
  REQUIRE(runnel_engine_profile_start(engine.get()) == RUNNEL_OK);
  append(20);
  append(1);
  append(1);
  const nlohmann::json profile = stop();
  CHECK(profile["steps"] == 3);
  CHECK(profile["tokens"] == 22);
  double seconds = 0, operations = 0, kv_bytes = 0;
  for (const auto& op : profile["ops"]) {
    CHECK(op["seconds"] >= 0);
    seconds += op["seconds"].get<double>();
    operations += op["operations"].get<double>();
    if (op["op"] == "attention") kv_bytes += op["bytes"].get<double>();
  }
  CHECK(seconds > 0);
  CHECK(seconds <= profile["seconds"].get<double>());
  runnel_step_cost one, many;
  runnel_step_cost_init(&one);
  runnel_step_cost_init(&many);
  REQUIRE(runnel_engine_step_cost(engine.get(), RUNNEL_KV_F16, 0, 1, &one) == RUNNEL_OK);
  REQUIRE(runnel_engine_step_cost(engine.get(), RUNNEL_KV_F16, 0, 20, &many) == RUNNEL_OK);
  const auto sum = [](const runnel_step_cost& cost) {
    return cost.int8_ops + cost.bf16_ops + cost.f32_ops;
  };
  CHECK(operations == doctest::Approx(sum(many) + 2 * sum(one)));
  // The first step sees 21 keys; the other two 22 and 23, of which the profile keeps the mean.
  CHECK(kv_bytes == doctest::Approx((21 + 2 * 22) * one.kv_bytes));
  append(1);
  CHECK(stop()["steps"] == 0);  // stopped
}

}  // namespace runnel::tests
