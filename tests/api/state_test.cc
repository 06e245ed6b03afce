// Saved and forked sessions, the prefix store and full contexts through the C API.
#include <cstring>
#include <vector>

#include "tests/api/handles.h"
#include "tests/unit/temp_dir.h"

namespace runnel::tests {
namespace {

std::vector<float> logits_of(const runnel_session* session) {
  const float* logits = nullptr;
  size_t n = 0;
  REQUIRE(runnel_session_logits(session, &logits, &n) == RUNNEL_OK);
  return {logits, logits + n};
}

runnel_session_memory memory_of(const runnel_session* session) {
  runnel_session_memory memory;
  runnel_session_memory_init(&memory);
  REQUIRE(runnel_session_memory_now(session, &memory) == RUNNEL_OK);
  return memory;
}

SessionPtr fork(const SessionPtr& parent) {
  runnel_session* child = nullptr;
  REQUIRE_MESSAGE(runnel_session_fork(parent.get(), &child) == RUNNEL_OK, runnel_last_error());
  return {child, runnel_session_destroy};
}

}  // namespace

TEST_CASE("Api: several replies to one prompt compute the prompt once") {
  const EnginePtr engine = demo_engine();
  const SessionPtr session = demo_session(engine.get());
  const auto ids = demo_ids(engine.get(), std::string(400, 'a') + " and so on");
  REQUIRE(runnel_session_append(session.get(), ids.data(), ids.size()) == RUNNEL_OK);
  runnel_sampling_options sampling;
  runnel_sampling_options_init(&sampling);
  sampling.temperature = 1.5f;
  std::vector<std::string> replies;
  const auto before = logits_of(session.get());
  for (uint64_t seed : {1, 2, 1}) {
    const SessionPtr child = fork(session);
    CHECK(memory_of(child.get()).kv_shared_bytes == memory_of(child.get()).kv_bytes);
    CHECK(logits_of(child.get()) == before);
    sampling.seed = seed;
    REQUIRE(runnel_session_set_sampling(child.get(), &sampling) == RUNNEL_OK);
    std::string text;
    runnel_generate_options options;
    runnel_generate_options_init(&options);
    options.max_tokens = 16;
    options.ignore_eog = 1;
    options.text_user = &text;
    options.on_text = [](void* user, const char* piece, size_t n) {
      static_cast<std::string*>(user)->append(piece, n);
      return 1;
    };
    REQUIRE(runnel_session_generate(child.get(), &options, nullptr) == RUNNEL_OK);
    replies.push_back(text);
  }
  CHECK(replies[0] == replies[2]);
  CHECK(replies[0] != replies[1]);
  CHECK(logits_of(session.get()) == before);
  CHECK(memory_of(session.get()).kv_shared_bytes == 0);
  CHECK(memory_of(session.get()).state_bytes > 0);
}

TEST_CASE("Api: a saved session goes on elsewhere") {
  const test::TempDir dir;
  const std::string path = dir / "s";
  const EnginePtr engine = demo_engine();
  const SessionPtr session = demo_session(engine.get());
  const auto ids = demo_ids(engine.get(), "The cell is the basic unit of life, and so on.");
  REQUIRE(runnel_session_append(session.get(), ids.data(), ids.size()) == RUNNEL_OK);
  REQUIRE(runnel_session_save(session.get(), path.c_str(), "some text") == RUNNEL_OK);
  REQUIRE(runnel_session_append(session.get(), ids.data(), 3) == RUNNEL_OK);

  const EnginePtr other_engine = demo_engine();
  const SessionPtr other = demo_session(other_engine.get());
  char* note = nullptr;
  REQUIRE(runnel_session_load(other.get(), path.c_str(), &note) == RUNNEL_OK);
  CHECK(std::string(note) == "some text");
  runnel_free(note);
  CHECK(runnel_session_position(other.get()) == static_cast<int32_t>(ids.size()));
  REQUIRE(runnel_session_append(other.get(), ids.data(), 3) == RUNNEL_OK);
  CHECK(logits_of(other.get()) == logits_of(session.get()));

  std::string file = test::read_file(path);
  file[file.size() / 2] ^= 4;
  test::write_file(path, std::string_view(file));
  note = const_cast<char*>("stale");
  CHECK(runnel_session_load(other.get(), path.c_str(), &note) == RUNNEL_ERROR_CORRUPT);
  CHECK(note == nullptr);
  CHECK(std::string(runnel_last_error()).find("checksum") != std::string::npos);
  CHECK(logits_of(other.get()) == logits_of(session.get()));
}

TEST_CASE("Api: wrong arguments about state are errors") {
  const EnginePtr engine = demo_engine();
  const SessionPtr session = demo_session(engine.get());
  runnel_session* child = session.get();
  CHECK(runnel_session_fork(nullptr, &child) == RUNNEL_ERROR_INVALID_ARGUMENT);
  CHECK(child == nullptr);
  CHECK(runnel_session_fork(session.get(), nullptr) == RUNNEL_ERROR_INVALID_ARGUMENT);
  CHECK(runnel_session_save(nullptr, "x", nullptr) == RUNNEL_ERROR_INVALID_ARGUMENT);
  CHECK(runnel_session_save(session.get(), nullptr, nullptr) == RUNNEL_ERROR_INVALID_ARGUMENT);
  CHECK(runnel_session_load(nullptr, "x", nullptr) == RUNNEL_ERROR_INVALID_ARGUMENT);
  CHECK(runnel_session_load(session.get(), nullptr, nullptr) == RUNNEL_ERROR_INVALID_ARGUMENT);
  CHECK(runnel_session_load(session.get(), "/nowhere/at/all", nullptr) == RUNNEL_ERROR_NOT_FOUND);
  CHECK(runnel_session_memory_now(nullptr, nullptr) == RUNNEL_ERROR_INVALID_ARGUMENT);
  CHECK(runnel_session_memory_now(session.get(), nullptr) == RUNNEL_ERROR_INVALID_ARGUMENT);
  runnel_session_memory_init(nullptr);
  CHECK(runnel_session_dropped(nullptr) == 0);

  runnel_session_options options;
  runnel_session_options_init(&options);
  for (const auto& [policy, keep, context] :
       {std::tuple{2, 0, 512}, std::tuple{-1, 0, 512}, std::tuple{1, -1, 512},
        std::tuple{1, 300, 512}, std::tuple{1, 2147483647, 512}, std::tuple{1, 0, 100}}) {
    options.context_policy = static_cast<runnel_context_policy>(policy);
    options.keep_tokens = keep;
    options.context_size = context;
    CHECK(runnel_session_create(engine.get(), &options, &child) == RUNNEL_ERROR_INVALID_ARGUMENT);
  }
  runnel_engine_options wrong = demo_options();
  wrong.prefix_dir = "x";
  runnel_engine* raw = nullptr;
  CHECK(runnel_engine_create(&wrong, &raw) == RUNNEL_ERROR_INVALID_ARGUMENT);
}

TEST_CASE("Api: a system prompt shared by sessions is computed once") {
  runnel_engine_options options = demo_options();
  options.prefix_bytes = 16 << 20;
  runnel_memory_plan plan;
  runnel_memory_plan_init(&plan);
  REQUIRE(runnel_plan_memory(&options, nullptr, &plan) == RUNNEL_OK);
  CHECK(plan.prefix_bytes == 16 << 20);
  runnel_engine* raw = nullptr;
  REQUIRE(runnel_engine_create(&options, &raw) == RUNNEL_OK);
  const EnginePtr engine(raw, runnel_engine_destroy);
  for (const char* kv : {"f16", "kv4"})
    for (const char* question : {"What is 12 + 30?", "What is 1 + 1?"}) {
      CAPTURE(kv);
      const std::string system(300, kv[0]);
      const runnel_message messages[] = {{sizeof(runnel_message), "system", system.c_str()},
                                         {sizeof(runnel_message), "user", question}};
      const SessionPtr session = demo_session(engine.get(), kv);
      runnel_generate_options generate;
      runnel_generate_options_init(&generate);
      generate.max_tokens = 2;
      runnel_generate_result result;
      runnel_generate_result_init(&result);
      REQUIRE(runnel_session_chat(session.get(), messages, 2, nullptr, &generate, &result) ==
              RUNNEL_OK);
      if (question[8] == '1' && question[9] == '2')
        CHECK(result.n_reused_tokens == 0);
      else
        CHECK(result.n_reused_tokens > 20);
    }
}

TEST_CASE("Api: a full context shifts, keeps the system message, and says so") {
  runnel_engine_options engine_options = demo_options();
  std::string log;
  engine_options.log_user = &log;
  engine_options.on_log = [](void* user, runnel_log_level, const char* message) {
    *static_cast<std::string*>(user) += message;
  };
  runnel_engine* raw_engine = nullptr;
  REQUIRE(runnel_engine_create(&engine_options, &raw_engine) == RUNNEL_OK);
  const EnginePtr engine(raw_engine, runnel_engine_destroy);
  runnel_session_options options;
  runnel_session_options_init(&options);
  options.context_size = 512;
  options.context_policy = RUNNEL_CONTEXT_SHIFT;
  runnel_session* raw = nullptr;
  REQUIRE(runnel_session_create(engine.get(), &options, &raw) == RUNNEL_OK);
  const SessionPtr session(raw, runnel_session_destroy);
  std::string system;  // more than a page
  while (demo_ids(engine.get(), system).size() < 100) system += "Be brief and kind. ";
  const runnel_message messages[] = {{sizeof(runnel_message), "system", system.c_str()},
                                     {sizeof(runnel_message), "user", "Tell me a story."}};
  runnel_generate_options generate;
  runnel_generate_options_init(&generate);
  generate.max_tokens = 700;
  generate.ignore_eog = 1;
  runnel_generate_result result;
  runnel_generate_result_init(&result);
  REQUIRE_MESSAGE(
      runnel_session_chat(session.get(), messages, 2, nullptr, &generate, &result) == RUNNEL_OK,
      runnel_last_error());
  CHECK(result.n_tokens == 700);
  CHECK(result.stop_reason == RUNNEL_STOP_LIMIT);
  CHECK(result.n_dropped_tokens == runnel_session_dropped(session.get()));
  CHECK(result.n_dropped_tokens > 0);
  CHECK(log.find("context full") != std::string::npos);
  CHECK(runnel_session_position(session.get()) > 512);
  // Two pages kept, half of the other six dropped at a time.
  CHECK(result.n_dropped_tokens % (3 * 64) == 0);
}

}  // namespace runnel::tests
