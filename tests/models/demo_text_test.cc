// The demo model's greedy text on a device is that of the CPU, or parts from it where two tokens
// are as good as equal: the CPU rounds activations to 8 bits, devices to 16 bits or not at all in
// some kernels.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "runtime/base/env.h"
#include "tests/models/golden.h"

namespace runnel::tests {
namespace {

constexpr std::size_t kTokens = 64;
/// Of the standard deviation of the logits. On one GPU 7 of 20 texts part, at 0.039 at most.
constexpr double kAsGoodAsEqual = 0.1;

constexpr const char* kPrompts[] = {
    "The capital of France is", "Once upon a time",  "Write a short poem.", "What is rain?",
    "Name three fruits.",       "How do birds fly?", "Tell me of the sea.", "Why is the sky blue?",
    "What is a computer?",      "Describe a cat.",   "Who was Napoleon?",   "What is music?",
    "How is bread made?",       "What is the Sun?",  "Explain gravity.",    "List two colours.",
    "What do bees do?",         "What is a river?",  "How old is Earth?",   "What is friendship?"};

struct Text {
  std::vector<TokenId> ids;
  std::vector<std::vector<float>> logits;  // that each id was chosen from
};

Text greedy(Engine& engine, const std::string& prompt) {
  const auto session = new_session(engine, {256, quant::plain_kv(DType::f16), 0});
  append(*session, engine.tokenizer()->encode(prompt, {}));
  Text text;
  while (text.ids.size() < kTokens) {
    text.logits.push_back(last_logits(*session));
    const auto& row = text.logits.back();
    const TokenId id = static_cast<TokenId>(std::ranges::max_element(row) - row.begin());
    text.ids.push_back(id);
    append(*session, {&id, 1});
  }
  return text;
}

/// How far apart the two tokens are where the texts part, in deviations; 0 when they do not.
double gap(const Text& expected, const Text& got) {
  const auto [a, b] = std::ranges::mismatch(expected.ids, got.ids);
  if (a == expected.ids.end()) return 0;
  const auto& row = expected.logits[static_cast<std::size_t>(a - expected.ids.begin())];
  const double n = static_cast<double>(row.size());
  double sum = 0, squares = 0;
  for (const float x : row) {
    sum += x;
    squares += static_cast<double>(x) * x;
  }
  const double deviation = std::sqrt(squares / n - sum / n * (sum / n));
  const auto of = [&](TokenId id) {
    return static_cast<double>(row[static_cast<std::size_t>(id)]);
  };
  return (of(*a) - of(*b)) / deviation;
}

}  // namespace

TEST_CASE("DemoText: a device says what the CPU says") {
  const std::string model = RUNNEL_SOURCE_DIR "/models/demo-30m-iq4_xs.gguf";
  const std::size_t n_prompts = std::min<std::size_t>(
      std::size(kPrompts), std::stoul(env("RUNNEL_TEST_PROMPTS").value_or("20")));
  for (const std::string& backend : usable_backends()) {
    if (backend == "cpu" || backend == "reference") continue;
    CAPTURE(backend);
    const auto cpu = load_engine(model, "cpu"), device = load_engine(model, backend);
    int n_parted = 0;
    double largest = 0;
    for (std::size_t i = 0; i < n_prompts; ++i) {
      CAPTURE(kPrompts[i]);
      const double apart = gap(greedy(*cpu, kPrompts[i]), greedy(*device, kPrompts[i]));
      n_parted += apart > 0;
      largest = std::max(largest, apart);
      CHECK(apart < kAsGoodAsEqual);
    }
    MESSAGE(n_parted << " of " << n_prompts << " texts part, at gaps of at most " << largest);
  }
}

}  // namespace runnel::tests
