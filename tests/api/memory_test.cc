// The memory plan is asked before anything is loaded, and the run stays within it.
#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/api/handles.h"

namespace runnel::tests {
namespace {

/// Anonymous resident bytes now. SOURCE: proc(5), RssAnon.
std::uint64_t private_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssAnon:")) return std::stoull(line.substr(8)) * 1024;
  return 0;
}

}  // namespace

TEST_CASE("Api: a run stays within the memory plan") {
  runnel_engine_options options = demo_options();
  options.n_threads = 2;
  runnel_session_options session_options;
  runnel_session_options_init(&session_options);
  session_options.context_size = 2048;
  runnel_memory_plan plan;
  runnel_memory_plan_init(&plan);
  REQUIRE(runnel_plan_memory(&options, &session_options, &plan) == RUNNEL_OK);
  CHECK(plan.kv_bytes ==
        3u * 2 * 2 * 64 * 2048 * 2);                  // layers x (K,V) x heads x dim x tokens x f16
  CHECK(plan.state_bytes == 5u * (2 + 8) * 512 * 4);  // conv layers x columns x d_model x f32
  CHECK(plan.mapped_bytes == std::filesystem::file_size(demo_path()));
  const std::uint64_t promised =
      plan.weight_bytes + plan.arena_bytes + plan.kv_bytes + plan.state_bytes + plan.other_bytes;

#if defined(__GLIBC__)
  malloc_trim(0);  // what earlier tests freed would hide what this one takes
#endif
  const std::uint64_t before = private_bytes();
  std::uint64_t peak = before;
  {
    runnel_engine* raw_engine = nullptr;
    REQUIRE(runnel_engine_create(&options, &raw_engine) == RUNNEL_OK);
    const EnginePtr engine(raw_engine, runnel_engine_destroy);
    runnel_session* raw = nullptr;
    REQUIRE(runnel_session_create(engine.get(), &session_options, &raw) == RUNNEL_OK);
    const SessionPtr session(raw, runnel_session_destroy);
    std::vector<int32_t> ids(2000, 77);
    REQUIRE(runnel_session_append(session.get(), ids.data(), ids.size()) == RUNNEL_OK);
    peak = std::max(peak, private_bytes());
    REQUIRE(runnel_session_append(session.get(), ids.data(), 5) == RUNNEL_OK);
    REQUIRE(runnel_session_append(session.get(), ids.data(), 1) == RUNNEL_OK);
    peak = std::max(peak, private_bytes());
  }
  CAPTURE(promised);
  CAPTURE(peak - before);
  CHECK(peak - before <= promised);
  CHECK(peak - before >= plan.kv_bytes / 2);  // the measurement sees what the run uses
  session_options.kv_type = RUNNEL_KV_F32;
  const std::uint64_t f16_bytes = plan.kv_bytes;
  REQUIRE(runnel_plan_memory(&options, &session_options, &plan) == RUNNEL_OK);
  CHECK(plan.kv_bytes == 2 * f16_bytes);
  // A quantised cache: 4 bits and a scale per 64 values, and the f16 rows beside them.
  session_options.context_size = 0;
  session_options.kv = "f16";
  REQUIRE(runnel_plan_memory(&options, &session_options, &plan) == RUNNEL_OK);
  const double rows = static_cast<double>(plan.kv_bytes);
  session_options.kv = "k4v4";
  REQUIRE(runnel_plan_memory(&options, &session_options, &plan) == RUNNEL_OK);
  CAPTURE(rows);
  CHECK(static_cast<double>(plan.kv_bytes) > rows * 17 / 64);
  CHECK(static_cast<double>(plan.kv_bytes) < rows * 0.40);
}

}  // namespace runnel::tests
