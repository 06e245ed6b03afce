// Ceilings of the hardware and the work of a step.
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

}  // namespace runnel::tests
