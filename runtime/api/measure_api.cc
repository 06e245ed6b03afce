// C API: measuring the hardware, and the work of a step.
#include <nlohmann/json.hpp>

#include "runtime/api/error.h"
#include "runtime/api/handles.h"

using namespace runnel;  // NOLINT: a file of extern "C" functions
using runnel::api::guarded;
using runnel::api::missing;

namespace {

Status step_cost(const Engine& engine,
                 const quant::KvPolicy& kv,
                 int32_t position,
                 int32_t n_tokens,
                 runnel_step_cost* cost) {
  if (cost == nullptr) return missing("cost");
  if (position < 0 || n_tokens < 1 || n_tokens > INT32_MAX - position)
    return Status(Code::invalid_argument, "a step has a position >= 0 and tokens");
  RUNNEL_ASSIGN(const StepCost found, engine.cost(kv, {n_tokens, position + n_tokens}));
  runnel_step_cost full{};
  full.int8_ops = found.int8_ops;
  full.bf16_ops = found.bf16_ops;
  full.f32_ops = found.f32_ops;
  full.kv_bytes = found.kv_bytes;
  api::copy_out(full, cost);
  return {};
}

}  // namespace

extern "C" {

void runnel_ceilings_init_sized(runnel_ceilings* ceilings, size_t size) {
  api::begin(ceilings, size);
}

runnel_status runnel_engine_ceilings(runnel_engine* engine, runnel_ceilings* ceilings) {
  return guarded([&]() -> Status {
    if (engine == nullptr) return missing("engine");
    if (ceilings == nullptr) return missing("ceilings");
    RUNNEL_ASSIGN(const Ceilings found, engine->engine->measure_ceilings());
    runnel_ceilings full{};
    full.read_bytes = found.read_bytes;
    full.int8_ops = found.int8_ops;
    full.bf16_ops = found.bf16_ops;
    full.f32_ops = found.f32_ops;
    api::copy_out(full, ceilings);
    return {};
  });
}

void runnel_step_cost_init_sized(runnel_step_cost* cost, size_t size) {
  api::begin(cost, size);
}

runnel_status runnel_engine_step_cost(const runnel_engine* engine,
                                      runnel_kv_type kv_type,
                                      int32_t position,
                                      int32_t n_tokens,
                                      runnel_step_cost* cost) {
  return guarded([&]() -> Status {
    if (engine == nullptr) return missing("engine");
    const auto rows = kv_type == RUNNEL_KV_F32 ? quant::DType::f32 : quant::DType::f16;
    return step_cost(*engine->engine, quant::plain_kv(rows), position, n_tokens, cost);
  });
}

runnel_status runnel_session_step_cost(const runnel_session* session,
                                       int32_t position,
                                       int32_t n_tokens,
                                       runnel_step_cost* cost) {
  return guarded([&]() -> Status {
    if (session == nullptr) return missing("session");
    return step_cost(session->session->engine(), session->session->kv(), position, n_tokens, cost);
  });
}

runnel_status runnel_engine_profile_start(runnel_engine* engine) {
  return guarded([&]() -> Status {
    if (engine == nullptr) return missing("engine");
    engine->engine->start_profile();
    return {};
  });
}

runnel_status runnel_engine_profile_stop(runnel_engine* engine, char** json) {
  return guarded([&]() -> Status {
    if (engine == nullptr) return missing("engine");
    if (json == nullptr) return missing("json");
    const ProfileReport report = engine->engine->stop_profile();
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    for (const ProfileRow& row : report.rows)
      rows.push_back({{"op", row.op},
                      {"weights", row.weights},
                      {"calls", row.calls},
                      {"seconds", row.seconds},
                      {"bytes", row.bytes},
                      {"operations", row.operations}});
    const nlohmann::ordered_json all{{"steps", report.steps},
                                     {"tokens", report.tokens},
                                     {"seconds", report.seconds},
                                     {"ops", std::move(rows)}};
    return api::copy_text(all.dump(2), json);
  });
}

}  // extern "C"
