// Folding for the quantised KV cache moves work into the weights and changes no logits.
#include "converters/kv_fold.h"

#include <cmath>

#include <doctest/doctest.h>

#include "tests/models/golden.h"
#include "tests/unit/temp_dir.h"

namespace runnel::tests {
namespace {

using converters::fold_kv;
using converters::KvFoldOptions;

/// Gains of 1/2 .. 2, the same for the two channels of a pair, of every attention layer.
std::vector<converters::LayerGains> uneven_gains(const Model& model, bool per_head) {
  const ModelConfig& config = model.config;
  const converters::AttentionShape shape{config.n_heads, config.head_dim, config.rope.rotary_dim,
                                         config.rope.style == RopeStyle::interleaved};
  std::vector<converters::LayerGains> all;
  for (std::size_t layer = 0; layer < config.layers.size(); ++layer) {
    if (config.layers[layer].kind != LayerKind::attention) continue;
    const std::int64_t heads = config.layers[layer].n_kv_heads;
    converters::LayerGains gains{static_cast<std::int64_t>(layer), heads, {}};
    for (std::int64_t i = 0; i < (per_head ? heads : 1) * config.head_dim; ++i) {
      const std::int64_t channel = i % config.head_dim;
      const std::int64_t pair = std::min(channel, shape.partner(channel));
      gains.gains.push_back(
          std::exp2(static_cast<double>((pair * 7 + i / config.head_dim) % 5) / 2 - 1));
    }
    all.push_back(gains);
  }
  return all;
}

KvFoldOptions options_for(const std::string& in, const std::string& out, const Engine& engine) {
  const ModelConfig& config = engine.model().config;
  KvFoldOptions options;
  options.in_path = in;
  options.out_path = out;
  options.n_threads = 2;
  options.shape = {config.n_heads, config.head_dim, config.rope.rotary_dim,
                   config.rope.style == RopeStyle::interleaved};
  return options;
}

std::vector<float> logits_of(const std::string& path,
                             const std::string& backend,
                             const quant::KvPolicy& kv) {
  const auto engine = load_engine(path, backend);
  const auto session = new_session(*engine, {512, kv, 0});
  return all_logits(*session, random_ids(200, 320, 3));
}

}  // namespace

TEST_CASE("Fold: gains and transform in the weights leave the logits as they were") {
  for (const char* model : {"tiny-lfm2", "tiny-llama", "tiny-qwen3"})
    for (const std::string& backend : usable_backends()) {
      CAPTURE(model);
      CAPTURE(backend);
      const test::TempDir dir;
      const std::string in = converted(model, "f32");
      const auto engine = load_engine(in, backend);
      KvFoldOptions options = options_for(in, dir / "folded.gguf", *engine);
      options.gains = uneven_gains(engine->model(), model == std::string("tiny-llama"));
      options.fold_values = true;
      const auto summary = fold_kv(options);
      REQUIRE_MESSAGE(summary.ok(), summary.status().message());
      CHECK(summary->notes.empty());
      const auto folded = load_engine(options.out_path, backend);
      CHECK(folded->model().kv.v_folded);
      CHECK(folded->model().kv.balanced);
      for (const char* name : {"f32", "f16", "kv8"}) {
        CAPTURE(name);
        const auto kv = *quant::parse_kv_policy(name);
        const auto before = logits_of(in, backend, kv);
        const auto after = logits_of(options.out_path, backend, kv);
        // f32: what is left is rounding. The others round keys and values that now are others.
        const double bound = name == std::string("f32") ? 1e-4 : kv.tiled() ? 5e-2 : 5e-3;
        CHECK(error_in_deviations(after, before) < bound);
        CHECK(after != before);
      }
    }
}

TEST_CASE("Fold: what is folded once is not folded again, and records are replaced") {
  const test::TempDir dir;
  const std::string in = converted("tiny-lfm2", "f32");
  const auto engine = load_engine(in, "reference");
  KvFoldOptions once = options_for(in, dir / "once.gguf", *engine);
  once.fold_values = true;
  once.record.kl[0] = 0.5;
  REQUIRE(fold_kv(once).ok());
  KvFoldOptions twice = options_for(once.out_path, dir / "twice.gguf", *engine);
  twice.fold_values = true;
  REQUIRE(fold_kv(twice).ok());
  const auto a = GgufFile::open(once.out_path), b = GgufFile::open(twice.out_path);
  REQUIRE(a.ok());
  REQUIRE(b.ok());
  for (std::size_t i = 0; i < a->tensors().size(); ++i)
    CHECK(std::ranges::equal(a->tensors()[i].data, b->tensors()[i].data));
  CHECK(a->find("runnel.kv.kl.kv8") != nullptr);
  CHECK(b->find("runnel.kv.kl.kv8") == nullptr);
  CHECK(b->find("runnel.kv.v_folded") != nullptr);
}

TEST_CASE("Fold: quantised weights stay as they are, with a note; gains of norms are folded") {
  const test::TempDir dir;
  for (const char* model : {"tiny-lfm2", "tiny-llama"}) {
    CAPTURE(model);
    const bool normed = model == std::string("tiny-lfm2");
    const std::string in = converted(model, "q8_0");
    const auto engine = load_engine(in, "reference");
    KvFoldOptions options = options_for(in, dir / "q.gguf", *engine);
    options.gains = uneven_gains(engine->model(), false);
    options.fold_values = true;
    const auto summary = fold_kv(options);
    REQUIRE_MESSAGE(summary.ok(), summary.status().message());
    CHECK(summary->notes.size() == (normed ? 1 : 2));
    const auto after = load_engine(options.out_path, "reference");
    CHECK_FALSE(after->model().kv.v_folded);
    CHECK(after->model().kv.balanced == normed);
    const auto f32 = quant::plain_kv(DType::f32);
    CHECK(error_in_deviations(logits_of(options.out_path, "reference", f32),
                              logits_of(in, "reference", f32)) < 1e-4);
  }
}

TEST_CASE("Fold: gains per head do not fit a norm that all heads share") {
  const test::TempDir dir;
  const std::string in = converted("tiny-lfm2", "f32");
  const auto engine = load_engine(in, "reference");
  KvFoldOptions options = options_for(in, dir / "x.gguf", *engine);
  options.gains = uneven_gains(engine->model(), false);
  for (auto& layer : options.gains) layer.gains.resize(2 * layer.gains.size(), 1.0);
  const auto summary = fold_kv(options);
  REQUIRE(summary.ok());
  REQUIRE(summary->notes.size() == 1);
  CHECK(summary->notes[0].find("shared by all heads") != std::string::npos);
}

}  // namespace runnel::tests
