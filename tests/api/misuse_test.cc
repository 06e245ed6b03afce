// Wrong arguments, old callers and hostile files: always a status and a text, never a crash.
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/api/handles.h"

namespace runnel::tests {
namespace {

void check_fails(runnel_status got, runnel_status expected, const char* text) {
  CHECK(got == expected);
  CHECK_MESSAGE(std::string(runnel_last_error()).find(text) != std::string::npos,
                runnel_last_error());
}

std::vector<char> read_demo() {
  std::ifstream in(demo_path(), std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

runnel_status load_image(const std::vector<char>& image, size_t n_bytes) {
  runnel_engine_options options;
  runnel_engine_options_init(&options);
  options.model_data = image.data();
  options.model_bytes = n_bytes;
  runnel_engine* engine = nullptr;
  const runnel_status status = runnel_engine_create(&options, &engine);
  CHECK((engine != nullptr) == (status == RUNNEL_OK));
  runnel_engine_destroy(engine);
  return status;
}

}  // namespace

TEST_CASE("Api: unknown KV caches are refused, and the texts of the others accepted") {
  const auto invalid = RUNNEL_ERROR_INVALID_ARGUMENT;
  const EnginePtr engine = demo_engine();
  runnel_session_options options;
  runnel_session_options_init(&options);
  runnel_session* session = nullptr;
  for (const char* bad : {"", "kv5", "k4", "k4v", "k4v44", "q8_0", "K4V4"}) {
    options.kv = bad;
    check_fails(runnel_session_create(engine.get(), &options, &session), invalid, "kv8, kv6");
    CHECK(session == nullptr);
  }
  options.kv = "kv4";
  options.kv_without = 8;
  check_fails(runnel_session_create(engine.get(), &options, &session), invalid, "kv_without");
  options.kv_without = RUNNEL_KV_NO_SINKS | RUNNEL_KV_NO_ROTATION;
  for (const char* good : {"f16", "f32", "kv8", "kv2", "k2v8"}) {
    options.kv = good;
    REQUIRE(runnel_session_create(engine.get(), &options, &session) == RUNNEL_OK);
    runnel_step_cost cost;
    runnel_step_cost_init(&cost);
    CHECK(runnel_session_step_cost(session, 1000, 1, &cost) == RUNNEL_OK);
    CHECK(cost.kv_bytes > 0);
    runnel_session_destroy(session);
  }
  check_fails(runnel_session_step_cost(nullptr, 0, 1, nullptr), invalid, "session");
}

TEST_CASE("Api: sparse attention needs a quantised cache, and values in range") {
  const auto invalid = RUNNEL_ERROR_INVALID_ARGUMENT;
  const EnginePtr engine = demo_engine();
  runnel_session* session = nullptr;
  const auto fails = [&](const char* text, const auto& change) {
    runnel_session_options options;
    runnel_session_options_init(&options);
    options.kv = "kv4";
    options.sparse = RUNNEL_SPARSE_DECODE;
    change(options);
    check_fails(runnel_session_create(engine.get(), &options, &session), invalid, text);
    CHECK(session == nullptr);
  };
  fails("quantised KV cache", [](auto& options) { options.kv = "f16"; });
  fails("unknown bits", [](auto& options) { options.sparse = 4; });
  for (const std::int32_t from : {-1, (1 << 24) + 1})
    fails("sparse_from", [&](auto& options) { options.sparse_from = from; });
  for (const std::int32_t pages : {-1, 1025})
    fails("sparse_pages", [&](auto& options) { options.sparse_pages = pages; });
  runnel_session_options options;
  runnel_session_options_init(&options);
  options.streaming_heads = 1;
  check_fails(runnel_session_create(engine.get(), &options, &session), invalid,
              "quantised KV cache");
  options.kv = "kv4";
  check_fails(runnel_session_create(engine.get(), &options, &session), RUNNEL_ERROR_UNSUPPORTED,
              "--find-streaming-heads");
  options.streaming_heads = 0;
  options.sparse = RUNNEL_SPARSE_DECODE | RUNNEL_SPARSE_PREFILL;
  REQUIRE(runnel_session_create(engine.get(), &options, &session) == RUNNEL_OK);
  runnel_session_destroy(session);
}

TEST_CASE("Api: null arguments are invalid, not fatal") {
  const auto invalid = RUNNEL_ERROR_INVALID_ARGUMENT;
  runnel_engine_options engine_options = demo_options();
  check_fails(runnel_engine_create(nullptr, nullptr), invalid, "engine");
  runnel_engine* none = nullptr;
  check_fails(runnel_engine_create(nullptr, &none), invalid, "options");
  check_fails(runnel_session_create(nullptr, nullptr, nullptr), invalid, "session");
  check_fails(runnel_engine_info(nullptr, nullptr), invalid, "engine");
  check_fails(runnel_devices_json(nullptr), invalid, "json");
  check_fails(runnel_inspect_json(nullptr, 0, nullptr), invalid, "json");
  check_fails(runnel_plan_memory(&engine_options, nullptr, nullptr), invalid, "plan");
  check_fails(runnel_tokenize(nullptr, "x", 1, 0, nullptr, 0, nullptr), invalid, "engine");
  check_fails(runnel_detokenize(nullptr, nullptr, 0, 0, nullptr), invalid, "text");
  check_fails(runnel_session_append(nullptr, nullptr, 0), invalid, "session");
  check_fails(runnel_session_generate(nullptr, nullptr, nullptr), invalid, "session");
  check_fails(runnel_session_truncate(nullptr, 0), invalid, "session");
  CHECK(runnel_session_position(nullptr) == 0);
  runnel_session_cancel(nullptr);
  runnel_session_destroy(nullptr);
  runnel_engine_destroy(nullptr);
  runnel_free(nullptr);
  runnel_engine_options_init(nullptr);
}

TEST_CASE("Api: bad values are named") {
  const auto invalid = RUNNEL_ERROR_INVALID_ARGUMENT;
  runnel_engine* none = nullptr;
  runnel_engine_options options = demo_options();
  options.model_data = "x";
  check_fails(runnel_engine_create(&options, &none), invalid, "exactly one");
  options = demo_options();
  options.backend = "abacus";
  check_fails(runnel_engine_create(&options, &none), invalid, "abacus");
  options = demo_options();
  options.n_threads = -1;
  check_fails(runnel_engine_create(&options, &none), invalid, "n_threads");
  options = demo_options();
  options.n_prefill_threads = 1025;
  check_fails(runnel_engine_create(&options, &none), invalid, "n_prefill_threads");
  options = demo_options();
  options.size = 0;
  check_fails(runnel_engine_create(&options, &none), invalid, "size");
  options = demo_options();
  options.model_path = "/nonexistent/model.gguf";
  check_fails(runnel_engine_create(&options, &none), RUNNEL_ERROR_NOT_FOUND, "model.gguf");

  const EnginePtr engine = demo_engine();
  const SessionPtr session = demo_session(engine.get());
  const int32_t bad = 8192, fine = 5;
  check_fails(runnel_session_append(session.get(), &bad, 1), invalid, "8192");
  check_fails(runnel_session_append(session.get(), nullptr, 3), invalid, "ids");
  check_fails(runnel_session_generate(session.get(), nullptr, nullptr), invalid, "logits");
  REQUIRE(runnel_session_append(session.get(), &fine, 1) == RUNNEL_OK);
  check_fails(runnel_session_truncate(session.get(), 2), invalid, "truncate");
  runnel_sampling_options sampling;
  runnel_sampling_options_init(&sampling);
  sampling.top_p = -1;
  check_fails(runnel_session_set_sampling(session.get(), &sampling), invalid, "top_p");
  const runnel_message nameless{sizeof(runnel_message), nullptr, "x"};
  check_fails(runnel_session_chat(session.get(), &nameless, 1, nullptr, nullptr, nullptr), invalid,
              "role");
  const runnel_message message{sizeof(runnel_message), "user", "x"};
  check_fails(runnel_session_chat(session.get(), &message, 1, "{", nullptr, nullptr), invalid,
              "tools_json");
  const std::string deep(100000, '[');
  check_fails(runnel_session_chat(session.get(), &message, 1, deep.c_str(), nullptr, nullptr),
              invalid, "tools_json");
}

TEST_CASE("Api: callers with an older, shorter struct keep working") {
  runnel_engine_options options = demo_options();
  options.on_progress = [](void*, float) { return 0; };  // beyond the size below: not seen
  options.size = offsetof(runnel_engine_options, on_progress);
  runnel_engine* engine = nullptr;
  REQUIRE(runnel_engine_create(&options, &engine) == RUNNEL_OK);
  struct {
    runnel_model_info info;
  } small{};
  std::memset(&small, 0x55, sizeof small);
  small.info.size = offsetof(runnel_model_info, n_layers);
  REQUIRE(runnel_engine_info(engine, &small.info) == RUNNEL_OK);
  CHECK(small.info.n_vocab == 8192);
  CHECK(small.info.n_layers == 0x55555555);
  runnel_engine_destroy(engine);
}

TEST_CASE("Api: the start of a struct keeps to the caller's size") {
  struct {
    runnel_generate_options options;
    runnel_generate_options beyond;  // what a later version may add
  } given{};
  std::memset(static_cast<void*>(&given), 0x55, sizeof given);
  runnel_generate_options_init_sized(&given.options, offsetof(runnel_generate_options, on_text));
  CHECK(given.options.size == offsetof(runnel_generate_options, on_text));
  CHECK(given.options.max_tokens == -1);
  CHECK((given.options.on_text != nullptr));  // not written
  runnel_generate_options_init_sized(&given.options, sizeof given);
  CHECK(given.options.size == sizeof given);
  CHECK((given.options.on_text == nullptr));
  CHECK(given.beyond.size == 0);
  runnel_generate_options_init_sized(nullptr, sizeof given);
}

TEST_CASE("Api: logs go to the hook, as many as asked for") {
  struct Line {
    runnel_log_level level;
    std::string text;
  };
  std::vector<Line> lines;
  runnel_engine_options options = demo_options();
  options.log_user = &lines;
  options.on_log = [](void* user, runnel_log_level level, const char* message) {
    static_cast<std::vector<Line>*>(user)->push_back({level, message});
  };
  const auto use_model = [&](runnel_log_level level) {
    lines.clear();
    options.log_level = level;
    runnel_engine* engine = nullptr;
    REQUIRE(runnel_engine_create(&options, &engine) == RUNNEL_OK);
    {
      const SessionPtr session = demo_session(engine);
      const int32_t id = 5;
      REQUIRE(runnel_session_append(session.get(), &id, 1) == RUNNEL_OK);
    }
    runnel_engine_destroy(engine);
  };
  use_model(RUNNEL_LOG_WARN);
  CHECK(lines.empty());
  use_model(RUNNEL_LOG_INFO);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].level == RUNNEL_LOG_INFO);
  CHECK(lines[0].text.find("model=") == 0);
  use_model(RUNNEL_LOG_DEBUG);
  REQUIRE(lines.size() == 2);
  CHECK(lines[1].level == RUNNEL_LOG_DEBUG);
  CHECK(lines[1].text.find("max_tokens=1 ") != std::string::npos);
}

TEST_CASE("Api: loading can be stopped") {
  runnel_engine_options options = demo_options();
  options.on_progress = [](void* user, float fraction) {
    ++*static_cast<int*>(user);
    return fraction < 0.5f ? 1 : 0;
  };
  int calls = 0;
  options.progress_user = &calls;
  runnel_engine* engine = nullptr;
  CHECK(runnel_engine_create(&options, &engine) == RUNNEL_ERROR_CANCELLED);
  CHECK(engine == nullptr);
  CHECK(calls > 1);
}

TEST_CASE("Api: the size of token arrays can be asked") {
  const EnginePtr engine = demo_engine();
  size_t n = 0;
  REQUIRE(runnel_tokenize(engine.get(), "Hello world", 11, 0, nullptr, 0, &n) == RUNNEL_OK);
  CHECK(n == 2);
  int32_t ids[2] = {-1, -1};
  REQUIRE(runnel_tokenize(engine.get(), "Hello world", 11, 0, ids, 1, &n) == RUNNEL_OK);
  CHECK(n == 2);
  CHECK(ids[1] == -1);
  char* text = nullptr;
  const int32_t both[] = {4607, 1186, 999999, -5};
  REQUIRE(runnel_detokenize(engine.get(), both, 4, 0, &text) == RUNNEL_OK);
  CHECK(std::string(text) == "Hello world");
  runnel_free(text);
}

TEST_CASE("Api: a cut or damaged model is an error at any place") {
  const std::vector<char> image = read_demo();
  REQUIRE(load_image(image, image.size()) == RUNNEL_OK);
  std::mt19937 random(1);
  for (int i = 0; i < 60; ++i) {
    const size_t n = i < 20 ? static_cast<size_t>(i) * 7 : random() % image.size();
    CHECK(load_image(image, n) != RUNNEL_OK);
  }
  const size_t header = std::min<size_t>(image.size(), 400000);
  for (int i = 0; i < 150; ++i) {
    std::vector<char> damaged = image;
    damaged[random() % header] ^= static_cast<char>(1 << (random() % 8));
    load_image(damaged, damaged.size());  // may load, must not crash
  }
}

TEST_CASE("Api: descriptions are JSON") {
  char* text = nullptr;
  REQUIRE(runnel_devices_json(&text) == RUNNEL_OK);
  CHECK(nlohmann::json::parse(text).back()["name"] == "reference");
  runnel_free(text);
  REQUIRE(runnel_inspect_json(demo_path().c_str(), RUNNEL_INSPECT_TENSORS, &text) == RUNNEL_OK);
  const auto json = nlohmann::json::parse(text);
  CHECK(json["tensors"].size() == json["n_tensors"]);
  CHECK(json["metadata"]["general.architecture"] == "lfm2");
  runnel_free(text);
  const EnginePtr engine = demo_engine();
  const runnel_message message{sizeof(runnel_message), "user", "Hi"};
  REQUIRE(runnel_apply_template(engine.get(), &message, 1, nullptr, 1, &text) == RUNNEL_OK);
  CHECK(std::string(text) ==
        "<|startoftext|><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  runnel_free(text);
}

}  // namespace runnel::tests
