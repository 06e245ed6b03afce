// Tiny random models and their reference logits (transformers, float32 arithmetic), for tests.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/session/session.h"

namespace runnel::tests {

/// Folders below tests/models/ with a tiny checkpoint and golden logits.
std::span<const char* const> tiny_models();

/// The checkpoint converted to `recipe`, in a temporary folder, made once per process. The
/// reference ran with RoPE frequencies rounded to bf16 (its model had been cast to bf16 as a whole
/// before it was widened): the file gets a rope_freqs.weight that reproduces exactly this rounding.
std::string converted(const std::string& model, const std::string& recipe);

/// An engine on the file; fails the test on an error.
std::unique_ptr<Engine> load_engine(const std::string& path,
                                    const std::string& backend,
                                    int n_threads = 2);

/// A session with f32 KV unless told otherwise.
std::unique_ptr<Session> new_session(Engine& engine,
                                     SessionOptions options = {512, quant::plain_kv(DType::f32),
                                                               0});

struct GoldenCase {
  std::vector<TokenId> ids;
  std::vector<std::int64_t> rows;  // which positions the logits belong to
  std::vector<float> logits;       // [rows, n_vocab]
};
std::vector<GoldenCase> golden_cases(const std::string& model);

/// Runs `ids` on top of what the session holds.
void append(Session& session, std::span<const TokenId> ids);

/// Logits of the last token; fails the test without any.
std::vector<float> last_logits(const Session& session);

/// All rows of logits of `ids`: [ids, n_vocab].
std::vector<float> all_logits(Session& session, std::span<const TokenId> ids);

/// max |a - b| / standard deviation of b.
double error_in_deviations(std::span<const float> a, std::span<const float> b);

/// Some token ids below n_vocab, the same for the same seed.
std::vector<TokenId> random_ids(std::size_t n, std::int64_t n_vocab, unsigned seed);

/// Names of the backends that work here; of those in RUNNEL_TEST_BACKENDS (cpu,vulkan) when it is
/// set.
std::vector<std::string> usable_backends();

}  // namespace runnel::tests
