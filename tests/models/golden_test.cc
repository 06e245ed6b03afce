// Tiny models of every architecture against reference logits.
#include <doctest/doctest.h>

#include "tests/models/golden.h"

namespace runnel::tests {
namespace {

/// Worst error over all golden cases, in standard deviations of the reference logits.
double worst_error(const std::string& model,
                   const std::string& recipe,
                   const std::string& backend) {
  const auto engine = load_engine(converted(model, recipe), backend);
  const auto n_vocab = static_cast<std::size_t>(engine->model().config.n_vocab);
  double worst = 0;
  for (const GoldenCase& golden : golden_cases(model)) {
    const auto session = new_session(*engine);
    const std::vector<float> rows = all_logits(*session, golden.ids);
    std::vector<float> kept;
    for (std::int64_t row : golden.rows) {
      const auto first =
          rows.begin() + static_cast<std::ptrdiff_t>(row) * static_cast<std::ptrdiff_t>(n_vocab);
      kept.insert(kept.end(), first, first + static_cast<std::ptrdiff_t>(n_vocab));
    }
    worst = std::max(worst, error_in_deviations(kept, golden.logits));
  }
  return worst;
}

}  // namespace

TEST_CASE("GoldenModels: f32 weights reproduce the reference logits") {
  for (const char* model : tiny_models())
    for (const std::string& backend : usable_backends()) {
      CAPTURE(model);
      CAPTURE(backend);
      CHECK(worst_error(model, "f32", backend) < 2e-3);
    }
}

TEST_CASE("GoldenModels: bf16 weights reproduce the reference logits") {
  for (const char* model : tiny_models())
    for (const std::string& backend : usable_backends()) {
      CAPTURE(model);
      CAPTURE(backend);
      // Other backends may round activations to 16 bits.
      CHECK(worst_error(model, "bf16", backend) < (backend == "reference" ? 2e-3 : 6e-2));
    }
}

}  // namespace runnel::tests
