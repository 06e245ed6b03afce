// Generation through the C API: text, stops, cancelling, sampling, reuse.
#include <atomic>
#include <cstring>
#include <thread>

#include "tests/api/handles.h"

namespace runnel::tests {
namespace {

constexpr const char* kQuestion = "What is 12 + 30?";
constexpr const char* kAnswer = "12 + 30 = 42.";

int collect(void* user, const char* piece, size_t n_bytes) {
  CHECK(std::strlen(piece) == n_bytes);
  static_cast<std::string*>(user)->append(piece, n_bytes);
  return 1;
}

runnel_generate_options collecting(std::string& text) {
  runnel_generate_options options;
  runnel_generate_options_init(&options);
  options.on_text = collect;
  options.text_user = &text;
  return options;
}

}  // namespace

TEST_CASE("Api: the sampling that the model suggests can be asked") {
  const EnginePtr engine = demo_engine();
  runnel_sampling_options sampling;
  runnel_sampling_options_init(&sampling);
  REQUIRE(runnel_engine_suggested_sampling(engine.get(), &sampling) == RUNNEL_OK);
  CHECK(sampling.temperature == doctest::Approx(0.3));  // models/README.md
  CHECK(sampling.min_p == doctest::Approx(0.15));
  CHECK(sampling.repeat_penalty == doctest::Approx(1.05));
}

TEST_CASE("Api: a chat answers and ends by itself") {
  const EnginePtr engine = demo_engine();
  const SessionPtr session = demo_session(engine.get());
  set_greedy(session.get());
  std::string text;
  const auto result = ask(session.get(), kQuestion, collecting(text));
  CHECK(text == kAnswer);
  CHECK(result.stop_reason == RUNNEL_STOP_EOG);
  CHECK(result.n_prompt_tokens > 8);
  CHECK(result.n_reused_tokens == 0);
  CHECK(result.prompt_seconds > 0);
  CHECK(runnel_session_position(session.get()) == result.n_prompt_tokens + result.n_tokens - 1);

  text.clear();
  const auto again = ask(session.get(), kQuestion, collecting(text));
  CHECK(text == kAnswer);
  CHECK(again.n_reused_tokens == result.n_prompt_tokens - 1);
}

TEST_CASE("Api: every reason to stop is reported") {
  const EnginePtr engine = demo_engine();
  const SessionPtr session = demo_session(engine.get());
  set_greedy(session.get());
  std::string text;
  runnel_generate_options options = collecting(text);
  const char* stops[] = {" = "};
  options.stops = stops;
  options.n_stops = 1;
  CHECK(ask(session.get(), kQuestion, options).stop_reason == RUNNEL_STOP_STRING);
  CHECK(text == "12 + 30");

  text.clear();
  options = collecting(text);
  options.max_tokens = 3;
  auto result = ask(session.get(), kQuestion, options);
  CHECK(result.stop_reason == RUNNEL_STOP_LIMIT);
  CHECK(result.n_tokens == 3);
  options.max_tokens = 0;
  CHECK(ask(session.get(), kQuestion, options).n_tokens == 0);

  options = collecting(text);
  options.on_text = [](void*, const char*, size_t) { return 0; };
  CHECK(ask(session.get(), kQuestion, options).stop_reason == RUNNEL_STOP_CALLBACK);

  runnel_session_options small;
  runnel_session_options_init(&small);
  small.context_size = 40;
  runnel_session* raw = nullptr;
  REQUIRE(runnel_session_create(engine.get(), &small, &raw) == RUNNEL_OK);
  const SessionPtr tight(raw, runnel_session_destroy);
  text.clear();
  options = collecting(text);
  options.ignore_eog = 1;
  CHECK(ask(tight.get(), kQuestion, options).stop_reason == RUNNEL_STOP_CONTEXT_FULL);
  CHECK(runnel_session_position(tight.get()) == 40);
}

TEST_CASE("Api: another thread can cancel, and the session goes on after it") {
  const EnginePtr engine = demo_engine();
  const SessionPtr session = demo_session(engine.get());
  set_greedy(session.get());
  std::atomic<int> n_pieces{0};
  runnel_generate_options options;
  runnel_generate_options_init(&options);
  options.ignore_eog = 1;
  options.max_tokens = 4000;
  options.text_user = &n_pieces;
  options.on_text = [](void* user, const char*, size_t) {
    ++*static_cast<std::atomic<int>*>(user);
    return 1;
  };
  std::thread stopper([&] {
    while (n_pieces < 3) std::this_thread::yield();
    runnel_session_cancel(session.get());
  });
  const auto result = ask(session.get(), "Tell me a story.", options);
  stopper.join();
  CHECK(result.stop_reason == RUNNEL_STOP_CANCELLED);
  CHECK(result.n_tokens < 4000);
  std::string text;
  ask(session.get(), kQuestion, collecting(text));
  CHECK(text == kAnswer);
}

TEST_CASE("Api: other threads for prompts, the same logits") {
  std::vector<float> logits[2];
  for (const int n_prefill_threads : {0, 3}) {
    runnel_engine_options options = demo_options();
    options.n_threads = 1;
    options.n_prefill_threads = n_prefill_threads;
    runnel_engine* made = nullptr;
    REQUIRE(runnel_engine_create(&options, &made) == RUNNEL_OK);
    const EnginePtr engine(made, runnel_engine_destroy);
    const SessionPtr session = demo_session(engine.get());
    const auto ids = demo_ids(engine.get(), "Plants turn light into sugar, and then");
    REQUIRE(runnel_session_append(session.get(), ids.data(), ids.size()) == RUNNEL_OK);
    REQUIRE(runnel_session_append(session.get(), &ids[2], 1) == RUNNEL_OK);
    const float* row = nullptr;
    size_t n_vocab = 0;
    REQUIRE(runnel_session_logits(session.get(), &row, &n_vocab) == RUNNEL_OK);
    logits[n_prefill_threads > 0].assign(row, row + n_vocab);
  }
  CHECK(logits[0] == logits[1]);
}

TEST_CASE("Api: token by token equals generate") {
  const EnginePtr engine = demo_engine();
  const SessionPtr session = demo_session(engine.get());
  set_greedy(session.get());
  const auto ids = demo_ids(engine.get(), "The cell is");
  REQUIRE(runnel_session_append(session.get(), ids.data(), ids.size()) == RUNNEL_OK);
  std::vector<int32_t> made;
  for (int i = 0; i < 12; ++i) {
    const float* logits = nullptr;
    size_t n_vocab = 0;
    REQUIRE(runnel_session_logits(session.get(), &logits, &n_vocab) == RUNNEL_OK);
    int32_t id = -1, best = 0;
    for (size_t v = 1; v < n_vocab; ++v)
      if (logits[v] > logits[best]) best = static_cast<int32_t>(v);
    REQUIRE(runnel_session_sample(session.get(), &id) == RUNNEL_OK);
    CHECK(id == best);
    made.push_back(id);
    REQUIRE(runnel_session_append(session.get(), &id, 1) == RUNNEL_OK);
  }
  const SessionPtr other = demo_session(engine.get());
  set_greedy(other.get());
  REQUIRE(runnel_session_set_tokens(other.get(), ids.data(), ids.size(), nullptr) == RUNNEL_OK);
  runnel_generate_options options;
  runnel_generate_options_init(&options);
  options.max_tokens = 12;
  options.ignore_eog = 1;
  REQUIRE(runnel_session_generate(other.get(), &options, nullptr) == RUNNEL_OK);
  std::vector<int32_t> tokens(64);
  size_t n = 0;
  REQUIRE(runnel_session_tokens(other.get(), tokens.data(), tokens.size(), &n) == RUNNEL_OK);
  REQUIRE(n == ids.size() + 12);
  CHECK(std::equal(made.begin(), made.end(),
                   tokens.begin() + static_cast<std::ptrdiff_t>(ids.size())));
}

TEST_CASE("Api: evaluate hands over every row once") {
  const EnginePtr engine = demo_engine();
  const SessionPtr session = demo_session(engine.get());
  std::vector<int32_t> ids(150);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(100 + i);
  int32_t next = 0;
  REQUIRE(runnel_session_evaluate(
              session.get(), ids.data(), ids.size(),
              [](void* user, int32_t first, int32_t n, const float*) {
                auto& expected = *static_cast<int32_t*>(user);
                CHECK(first == expected);
                expected += n;
                return 1;
              },
              &next) == RUNNEL_OK);
  CHECK(next == 150);
  CHECK(runnel_session_evaluate(
            session.get(), ids.data(), 2, [](void*, int32_t, int32_t, const float*) { return 0; },
            nullptr) == RUNNEL_ERROR_CANCELLED);
}

}  // namespace runnel::tests
