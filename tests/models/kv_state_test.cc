// What a session promises holds with a quantised KV cache: a token sees each older one as a tile or
// as a row by their positions alone, so chunking, threads and rollbacks change nothing.
#include <doctest/doctest.h>

#include "tests/models/golden.h"
#include "tests/unit/temp_dir.h"

namespace runnel::tests {
namespace {

quant::KvPolicy policy(const char* name) {
  const auto parsed = quant::parse_kv_policy(name);
  REQUIRE(parsed);
  return *parsed;
}

/// kv4 with its f16 parts and transform left out, and the default.
std::vector<quant::KvPolicy> policies() {
  quant::KvPolicy bare = policy("kv4");
  bare.sinks = bare.recent = bare.rotate = false;
  return {policy("kv8"), policy("kv4"), policy("k3v2"), bare};
}

std::vector<float> fresh_logits(Engine& engine,
                                std::span<const TokenId> ids,
                                const quant::KvPolicy& kv,
                                std::int64_t chunk = 0) {
  const auto session = new_session(engine, {1024, kv, chunk});
  append(*session, ids);
  return last_logits(*session);
}

const char* const kRecipe = "q8_0";  // kernels whose rows do not depend on the step

}  // namespace

TEST_CASE("Tiled KV: any chunking of the prompt gives the same logits") {
  for (const char* model : {"tiny-lfm2", "tiny-llama"})
    for (const std::string& backend : usable_backends()) {
      const auto engine = load_engine(converted(model, kRecipe), backend);
      const auto ids = random_ids(330, 320, 1);
      for (const quant::KvPolicy& kv : policies()) {
        const std::vector<float> whole = fresh_logits(*engine, ids, kv);
        for (const std::int64_t chunk : {1, 7, 16, 64, 129}) {
          CAPTURE(model);
          CAPTURE(backend);
          CAPTURE(chunk);
          CHECK(fresh_logits(*engine, ids, kv, chunk) == whole);
        }
      }
    }
}

TEST_CASE("Tiled KV: the number of threads changes nothing") {
  const auto ids = random_ids(200, 320, 2);
  for (const quant::KvPolicy& kv : policies()) {
    const std::string file = converted("tiny-lfm2", kRecipe);
    const std::vector<float> one = fresh_logits(*load_engine(file, "cpu", 1), ids, kv);
    for (const int threads : {2, 3, 5})
      CHECK(fresh_logits(*load_engine(file, "cpu", threads), ids, kv) == one);
  }
}

TEST_CASE("Tiled KV: truncating anywhere and going on equals a fresh run") {
  const auto ids = random_ids(420, 320, 4), other = random_ids(40, 320, 5);
  for (const char* model : {"tiny-lfm2", "tiny-llama"}) {
    const auto engine = load_engine(converted(model, kRecipe), "cpu");
    for (const quant::KvPolicy& kv : policies())
      for (const std::size_t keep :
           {0, 1, 15, 16, 17, 100, 143, 144, 145, 255, 256, 257, 399, 400, 401, 410, 419}) {
        CAPTURE(model);
        CAPTURE(keep);
        const auto session = new_session(*engine, {1024, kv, 50});
        append(*session, ids);
        REQUIRE(session->truncate(static_cast<std::int64_t>(keep)).ok());
        append(*session, other);
        std::vector<TokenId> expected(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(keep));
        expected.insert(expected.end(), other.begin(), other.end());
        CHECK(last_logits(*session) == fresh_logits(*engine, expected, kv));
      }
  }
}

TEST_CASE("Tiled KV: many rollbacks in a row, some interrupted, stay exact") {
  const auto engine = load_engine(converted("tiny-lfm2", kRecipe), "cpu");
  for (const quant::KvPolicy& kv : policies()) {
    std::vector<TokenId> held;
    const auto session = new_session(*engine, {1024, kv, 23});
    unsigned seed = 7;
    const auto next = [&seed](unsigned n) {
      seed = seed * 1664525u + 1013904223u;
      return (seed >> 8) % n;
    };
    for (int round = 0; round < 40; ++round) {
      const auto more = random_ids(1 + next(90), 320, seed);
      if (held.size() + more.size() > 1000) break;
      if (next(4) == 0) {
        session->cancel();
        CHECK(session->append(more).code() == Code::cancelled);
        REQUIRE(session->tokens().size() == held.size());
      }
      append(*session, more);
      held.insert(held.end(), more.begin(), more.end());
      CHECK(last_logits(*session) == fresh_logits(*engine, held, kv));
      const std::size_t keep = held.size() - next(static_cast<unsigned>(held.size()) / 3 + 1);
      REQUIRE(session->truncate(static_cast<std::int64_t>(keep)).ok());
      held.resize(keep);
    }
  }
}

TEST_CASE("Tiled KV: a saved session goes on with the same bits and computes nothing") {
  const test::TempDir dir;
  const auto ids = random_ids(300, 320, 11), rest = random_ids(60, 320, 12);
  for (const std::string& backend : usable_backends())
    for (const quant::KvPolicy& kv : policies()) {
      const auto engine = load_engine(converted("tiny-lfm2", kRecipe), backend);
      const auto session = new_session(*engine, {1024, kv, 0});
      append(*session, ids);
      REQUIRE(session->truncate(290).ok());
      append(*session, rest);
      REQUIRE(session->save(dir / "s", "").ok());
      const auto fresh = load_engine(converted("tiny-lfm2", kRecipe), backend);
      const auto restored = new_session(*fresh, {512, kv, 0});
      fresh->start_profile();
      REQUIRE(restored->load(dir / "s").ok());
      CHECK(*restored->set_tokens(session->tokens()) == 350);
      CHECK(fresh->stop_profile().steps == 0);
      for (const std::int64_t keep : {350, 345, 200}) {
        REQUIRE(restored->truncate(keep).ok());
        REQUIRE(session->truncate(keep).ok());
        append(*restored, rest);
        append(*session, rest);
        CHECK(last_logits(*restored) == last_logits(*session));
      }
    }
}

TEST_CASE("Tiled KV: another reply to the same prompt computes one token, after a load, too") {
  const test::TempDir dir;
  const auto engine = load_engine(converted("tiny-lfm2", kRecipe), "cpu");
  const auto first = random_ids(250, 320, 17);
  for (const quant::KvPolicy& kv : policies()) {
    const auto session = new_session(*engine, {1024, kv, 0});
    std::vector<TokenId> prompt = first;
    for (unsigned turn = 0; turn < 3; ++turn) {
      REQUIRE(session->set_tokens(prompt).ok());
      const std::vector<float> expected = fresh_logits(*engine, prompt, kv);
      for (unsigned reply = 0; reply < 3; ++reply) {
        for (const TokenId id : random_ids(100, 320, 18 + reply))
          append(*session, std::span(&id, 1));
        const auto kept = session->set_tokens(prompt);
        REQUIRE(kept.ok());
        CHECK(*kept == std::ssize(prompt) - 1);
        CHECK(last_logits(*session) == expected);
      }
      for (const TokenId id : random_ids(100, 320, 21)) append(*session, std::span(&id, 1));
      REQUIRE(session->save(dir / "s", "").ok());
      const auto restored = new_session(*engine, {1024, kv, 0});
      REQUIRE(restored->load(dir / "s").ok());
      const auto kept = restored->set_tokens(prompt);
      REQUIRE(kept.ok());
      CHECK(*kept == std::ssize(prompt) - 1);
      CHECK(last_logits(*restored) == expected);
      REQUIRE(session->set_tokens(prompt).ok());
      const auto more = random_ids(60, 320, 30 + turn);
      prompt.insert(prompt.end(), more.begin(), more.end());
    }
    // An edited turn goes back to the end of the prompt before it.
    std::vector<TokenId> edited(prompt.begin(), prompt.begin() + 320);
    edited.insert(edited.end(), 5, 7);
    const auto kept = session->set_tokens(edited);
    REQUIRE(kept.ok());
    CHECK(*kept == 309);  // the last token of that prompt was computed again
    CHECK(last_logits(*session) == fresh_logits(*engine, edited, kv));
  }
}

TEST_CASE("Tiled KV: a file of another cache is refused") {
  const test::TempDir dir;
  const auto engine = load_engine(converted("tiny-lfm2", kRecipe), "cpu");
  const auto session = new_session(*engine, {512, policy("kv4"), 0});
  append(*session, random_ids(200, 320, 13));
  REQUIRE(session->save(dir / "s", "").ok());
  quant::KvPolicy unrotated = policy("kv4"), no_sinks = policy("kv4");
  unrotated.rotate = no_sinks.sinks = false;
  for (const quant::KvPolicy& kv :
       {policy("kv8"), policy("k4v4"), unrotated, no_sinks, quant::plain_kv(DType::f16)}) {
    const auto other = new_session(*engine, {512, kv, 0});
    CHECK(other->load(dir / "s").status().code() == Code::invalid_argument);
  }
}

TEST_CASE("Tiled KV: forks share pages and go their own ways") {
  const auto engine = load_engine(converted("tiny-lfm2", kRecipe), "cpu");
  const auto ids = random_ids(300, 320, 14), one = random_ids(50, 320, 15),
             two = random_ids(50, 320, 16);
  const auto join = [&](std::span<const TokenId> more) {
    std::vector<TokenId> all = ids;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  for (const quant::KvPolicy& kv : policies()) {
    const auto parent = new_session(*engine, {1024, kv, 0});
    append(*parent, ids);
    auto child = parent->fork();
    REQUIRE(child.ok());
    for (std::size_t i = 0; i < 50; ++i) {  // in turns: what either seals must not show
      append(*parent, std::span(one).subspan(i, 1));
      append(**child, std::span(two).subspan(i, 1));
    }
    CHECK(last_logits(*parent) == fresh_logits(*engine, join(one), kv));
    CHECK(last_logits(**child) == fresh_logits(*engine, join(two), kv));
  }
}

TEST_CASE("Tiled KV: a context that shifts gives the same however the tokens came in") {
  const test::TempDir dir;
  const auto ids = random_ids(900, 320, 19);
  for (const std::string& backend : usable_backends()) {
    const auto engine = load_engine(converted("tiny-lfm2", kRecipe), backend);
    for (const quant::KvPolicy& kv : {policy("kv4"), policies().back()}) {
      const auto shifting = [&](std::int64_t chunk) {
        return new_session(*engine, {384, kv, chunk, ContextPolicy::shift, 0});
      };
      const auto session = shifting(0);
      append(*session, std::span(ids).first(500));
      CHECK(session->n_dropped() == 128);
      REQUIRE(session->save(dir / "s", "").ok());
      auto child = session->fork();
      REQUIRE(child.ok());
      append(*session, std::span(ids).subspan(500));
      CHECK(session->n_dropped() > 400);
      const std::vector<float> whole = last_logits(*session);
      append(**child, std::span(ids).subspan(500));
      CHECK(last_logits(**child) == whole);
      const auto restored = shifting(0);
      REQUIRE(restored->load(dir / "s").ok());
      append(*restored, std::span(ids).subspan(500));
      CHECK(last_logits(*restored) == whole);
      for (const std::int64_t chunk : {1, 100}) {
        const auto chunked = shifting(chunk);
        append(*chunked, ids);
        CHECK(last_logits(*chunked) == whole);
      }
      for (const std::size_t keep : {10, 384, 512, 640, 650, 800, 890, 899}) {
        CAPTURE(backend);
        CAPTURE(keep);
        REQUIRE(session->truncate(static_cast<std::int64_t>(keep)).ok());
        append(*session, std::span(ids).subspan(keep));
        CHECK(last_logits(*session) == whole);
      }
    }
  }
}

TEST_CASE("Tiled KV: close to an f32 cache, the closer the more bits") {
  const auto engine = load_engine(converted("tiny-lfm2", "f32"), "cpu");
  const auto ids = random_ids(400, 320, 9);
  const std::vector<float> exact = fresh_logits(*engine, ids, quant::plain_kv(DType::f32));
  double before = 0;
  for (const char* name : {"k8v8", "k4v4", "k2v2"}) {
    const double error = error_in_deviations(fresh_logits(*engine, ids, policy(name)), exact);
    CAPTURE(name);
    CAPTURE(error);
    CHECK(error > before);
    CHECK(error < 1.0);
    before = error;
  }
}

TEST_CASE("Tiled KV: heads that are no multiple of 64 channels get f16") {
  const auto engine = load_engine(converted("tiny-lfm2-autoff", kRecipe), "cpu");
  const auto ids = random_ids(40, 320, 10);
  const auto session = new_session(*engine, {1024, policy("kv4"), 0});
  CHECK(session->kv() == quant::plain_kv(DType::f16));
  append(*session, ids);
  CHECK(last_logits(*session) == fresh_logits(*engine, ids, quant::plain_kv(DType::f16)));
}

}  // namespace runnel::tests
