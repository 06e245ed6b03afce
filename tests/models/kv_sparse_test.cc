// Sparse attention and streaming heads choose by position and content alone: what a session
// promises holds with them too.
#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

#include "converters/kv_fold.h"
#include "tests/models/golden.h"
#include "tests/unit/temp_dir.h"

namespace runnel::tests {
namespace {

/// Heads of 64 channels, two of keys and values: the tiny models have one.
const char* const kTwoHeads = RUNNEL_SOURCE_DIR "/models/demo-30m-iq4_xs.gguf";
const char* const kRecipe = "q8_0";  // kernels whose rows do not depend on the step

/// kv4 without recent rows, so that few tokens make many pages to choose from.
quant::KvPolicy dense() {
  quant::KvPolicy policy = *quant::parse_kv_policy("kv4");
  policy.recent = false;
  return policy;
}

quant::KvPolicy sparse(int pages) {
  quant::KvPolicy policy = dense();
  policy.sparse = {true, true, 500, pages};
  return policy;
}

std::vector<float> fresh_logits(Engine& engine,
                                std::span<const TokenId> ids,
                                const quant::KvPolicy& kv,
                                std::int64_t chunk = 0) {
  const auto session = new_session(engine, {1024, kv, chunk});
  append(*session, ids);
  return last_logits(*session);
}

/// A copy of the demo model whose file names streaming heads.
std::string with_streaming(const test::TempDir& dir, std::vector<std::uint64_t> masks) {
  converters::KvFoldOptions job;
  job.in_path = kTwoHeads;
  job.out_path = dir / "streaming.gguf";
  job.record.streaming = std::move(masks);
  const auto written = converters::fold_kv(job);
  REQUIRE_MESSAGE(written.ok(), written.status().message());
  return job.out_path;
}

}  // namespace

TEST_CASE("Sparse attention: any chunking gives the same logits, and not those of a dense cache") {
  const auto ids = random_ids(1000, 320, 1);
  for (const char* model : {"tiny-lfm2", "tiny-llama"})
    for (const std::string& backend : usable_backends()) {
      const auto engine = load_engine(converted(model, kRecipe), backend);
      const std::vector<float> whole = fresh_logits(*engine, ids, sparse(1));
      CHECK(whole != fresh_logits(*engine, ids, dense()));
      for (const std::int64_t chunk : {1, 33, 200}) {
        if (chunk == 1 && backend == "vulkan") continue;  // rounds one row of a product to bytes
        CAPTURE(model);
        CAPTURE(chunk);
        CHECK(fresh_logits(*engine, ids, sparse(1), chunk) == whole);
      }
    }
}

TEST_CASE("Sparse attention that chooses every page is dense attention") {
  const auto ids = random_ids(900, 320, 2);
  for (const std::string& backend : usable_backends()) {
    const auto engine = load_engine(converted("tiny-lfm2", kRecipe), backend);
    CHECK(fresh_logits(*engine, ids, sparse(1024)) == fresh_logits(*engine, ids, dense()));
  }
}

TEST_CASE("Sparse attention is nearly the reference's on every backend, and nothing falls back") {
  const auto ids = random_ids(700, 320, 8);
  const std::string path = converted("tiny-lfm2", "f32");
  const auto logits = [&](const std::string& backend, const quant::KvPolicy& kv) {
    const auto engine = load_engine(path, backend);  // a fallback is an error
    const auto session = new_session(*engine, {1024, kv, 0});
    append(*session, std::span(ids).first(697));
    for (std::size_t i = 697; i < ids.size(); ++i) append(*session, std::span(ids).subspan(i, 1));
    return last_logits(*session);
  };
  const std::vector<float> expected = logits("reference", sparse(2));
  CHECK(error_in_deviations(logits("reference", dense()), expected) > 0.02);
  for (const std::string& backend : usable_backends())
    if (backend != "reference") {
      CAPTURE(backend);
      CHECK(error_in_deviations(logits(backend, sparse(2)), expected) < 0.01);
    }
}

TEST_CASE("Sparse attention in one kind of step only leaves the other dense") {
  const auto ids = random_ids(1000, 320, 3);
  const auto engine = load_engine(converted("tiny-lfm2", kRecipe), "cpu");
  quant::KvPolicy only = sparse(1);
  only.sparse.prefill = false;
  CHECK(fresh_logits(*engine, ids, only) == fresh_logits(*engine, ids, dense()));
  CHECK(fresh_logits(*engine, ids, only, 1) == fresh_logits(*engine, ids, sparse(1)));
  only.sparse.prefill = true;
  only.sparse.decode = false;
  CHECK(fresh_logits(*engine, ids, only, 1) == fresh_logits(*engine, ids, dense()));
}

TEST_CASE("Sparse attention: rollbacks and saved sessions go on with the same bits") {
  const test::TempDir dir;
  const auto ids = random_ids(1000, 320, 4), other = random_ids(20, 320, 5);
  const auto engine = load_engine(converted("tiny-lfm2", kRecipe), "cpu");
  const quant::KvPolicy kv = sparse(1);
  for (const std::size_t keep : {999, 960, 700, 300}) {
    const auto session = new_session(*engine, {1024, kv, 100});
    append(*session, ids);
    REQUIRE(session->truncate(static_cast<std::int64_t>(keep)).ok());
    append(*session, other);
    std::vector<TokenId> expected(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(keep));
    expected.insert(expected.end(), other.begin(), other.end());
    CHECK(last_logits(*session) == fresh_logits(*engine, expected, kv));
    REQUIRE(session->save(dir / "s", "").ok());
    const auto restored = new_session(*engine, {1024, kv, 0});
    REQUIRE(restored->load(dir / "s").ok());
    CHECK(*restored->set_tokens(session->tokens()) == static_cast<std::int64_t>(expected.size()));
    const TokenId next[] = {3};
    append(*restored, next);
    append(*session, next);
    CHECK(last_logits(*restored) == last_logits(*session));
    // Its states are not those of a dense cache.
    CHECK_FALSE(new_session(*engine, {1024, dense(), 0})->load(dir / "s").ok());
    CHECK_FALSE(new_session(*engine, {1024, sparse(2), 0})->load(dir / "s").ok());
  }
}

TEST_CASE("Streaming heads take no pages, see no old tokens, and promise the same") {
  const test::TempDir dir;
  const auto ids = random_ids(600, 320, 6);
  for (const std::string backend : {"cpu"}) {
    const auto plain = load_engine(kTwoHeads, backend);
    const auto engine = load_engine(with_streaming(dir, {0b01}), backend);
    quant::KvPolicy kv = *quant::parse_kv_policy("kv4");
    // Without the option the file is like any other.
    CHECK(fresh_logits(*engine, ids, kv) == fresh_logits(*plain, ids, kv));
    const auto before = new_session(*engine, {1024, kv, 0});
    kv.streaming = true;
    const auto after = new_session(*engine, {1024, kv, 0});
    append(*before, ids);
    append(*after, ids);
    CHECK(after->memory().kv < before->memory().kv);
    const std::vector<float> whole = last_logits(*after);
    CHECK(whole != last_logits(*before));
    for (const std::int64_t chunk : {1, 33, 200})
      CHECK(fresh_logits(*engine, ids, kv, chunk) == whole);
    // Nobody has named any.
    SessionOptions options{1024, kv, 0};
    CHECK(Session::create(*plain, options).status().code() == Code::unsupported);
  }
}

TEST_CASE("Streaming heads together with sparse attention") {
  const test::TempDir dir;
  const auto ids = random_ids(200, 320, 7);
  const auto engine = load_engine(with_streaming(dir, {0b10}), "cpu");
  const auto reference = load_engine(with_streaming(dir, {0b10}), "reference");
  quant::KvPolicy kv = sparse(1);
  kv.streaming = true;
  const std::vector<float> whole = fresh_logits(*engine, ids, kv);
  CHECK(fresh_logits(*engine, ids, kv, 33) == whole);
  const std::vector<float> exact = fresh_logits(*reference, ids, kv);
  const auto [least, most] = std::ranges::minmax(exact);
  for (std::size_t i = 0; i < exact.size(); ++i)
    CHECK(std::abs(whole[i] - exact[i]) < 0.1f * (most - least));
}

TEST_CASE("A file that names heads that cannot stream is refused") {
  const test::TempDir dir;
  for (const std::vector<std::uint64_t>& masks :
       {std::vector<std::uint64_t>{std::uint64_t{1} << 40},
        {0b11},
        std::vector<std::uint64_t>(50, 1)}) {
    auto file = GgufFile::open(with_streaming(dir, masks));
    REQUIRE(file.ok());
    const auto model = Model::load(*std::move(file));
    REQUIRE_FALSE(model.ok());
    CHECK(model.status().message().find("streaming") != std::string::npos);
  }
}

}  // namespace runnel::tests
