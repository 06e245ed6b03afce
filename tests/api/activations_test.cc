// on_activations: what every weight is multiplied with.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/api/handles.h"

namespace runnel::tests {
namespace {

struct Seen {
  std::map<std::string, std::vector<float>> rows;  // by weight, the last step's
  std::map<std::string, int> n_in;
  int calls = 0, stop_after = 1 << 30;
};

int take(void* user, const runnel_activations* a) {
  Seen& seen = *static_cast<Seen*>(user);
  CHECK(a->size == sizeof *a);
  CHECK(a->n_matrices == 1);
  CHECK(a->matrices == nullptr);
  seen.rows[a->weight].assign(a->rows, a->rows + a->n_rows * a->n_in);
  seen.n_in[a->weight] = a->n_in;
  return ++seen.calls < seen.stop_after ? 1 : 0;
}

EnginePtr observed_engine(Seen& seen) {
  runnel_engine_options options = demo_options();
  options.on_activations = take;
  options.activations_user = &seen;
  runnel_engine* engine = nullptr;
  REQUIRE_MESSAGE(runnel_engine_create(&options, &engine) == RUNNEL_OK, runnel_last_error());
  return {engine, runnel_engine_destroy};
}

std::vector<float> logits_of(runnel_session* session) {
  const float* logits = nullptr;
  size_t n = 0;
  REQUIRE(runnel_session_logits(session, &logits, &n) == RUNNEL_OK);
  return {logits, logits + n};
}

}  // namespace

TEST_CASE("Activations: every product's input is reported, and nothing else changes") {
  Seen seen;
  const EnginePtr watched = observed_engine(seen), plain = demo_engine();
  const std::vector<int32_t> ids = demo_ids(plain.get(), "The cell is the unit of life.");
  const SessionPtr a = demo_session(watched.get()), b = demo_session(plain.get());
  REQUIRE(runnel_session_append(a.get(), ids.data(), ids.size()) == RUNNEL_OK);
  REQUIRE(runnel_session_append(b.get(), ids.data(), ids.size()) == RUNNEL_OK);
  CHECK(logits_of(a.get()) == logits_of(b.get()));
  CHECK(seen.calls == 47);  // 8 x 3 feed-forward, 5 x 2 convolution, 3 x 4 attention, the head
  CHECK(seen.n_in["token_embd.weight"] == 512);
  CHECK(seen.n_in["blk.0.ffn_down.weight"] == 1536);
  CHECK(seen.rows["token_embd.weight"].size() == 512);  // the last row only
  CHECK(seen.rows["blk.0.ffn_down.weight"].size() == 1536 * ids.size());
  CHECK(seen.rows["blk.2.attn_q.weight"] == seen.rows["blk.2.attn_v.weight"]);
  CHECK(seen.rows["blk.0.ffn_gate.weight"] == seen.rows["blk.0.ffn_up.weight"]);
  CHECK(seen.rows["blk.0.ffn_gate.weight"] != seen.rows["blk.1.ffn_gate.weight"]);
}

TEST_CASE("Activations: evaluate shows the head every row; 0 stops the step") {
  Seen seen;
  const EnginePtr engine = observed_engine(seen);
  const std::vector<int32_t> ids = demo_ids(engine.get(), "The cell is the unit of life.");
  const SessionPtr session = demo_session(engine.get());
  const auto go_on = [](void*, int32_t, int32_t, const float*) { return 1; };
  REQUIRE(runnel_session_evaluate(session.get(), ids.data(), ids.size(), go_on, nullptr) ==
          RUNNEL_OK);
  CHECK(seen.rows["token_embd.weight"].size() == 512 * ids.size());
  seen.stop_after = seen.calls + 3;
  REQUIRE(runnel_session_truncate(session.get(), 0) == RUNNEL_OK);
  CHECK(runnel_session_append(session.get(), ids.data(), ids.size()) == RUNNEL_ERROR_CANCELLED);
}

namespace {

struct SeenAttention {
  std::vector<int> layers;
  std::vector<float> q, k, v;  // of the last layer
  int stop_after = 1 << 30;
};

int take_attention(void* user, const runnel_attention_inputs* a) {
  SeenAttention& seen = *static_cast<SeenAttention*>(user);
  CHECK(a->size == sizeof *a);
  CHECK(a->n_kv_heads == 2);
  seen.layers.push_back(a->layer);
  seen.q.assign(a->q, a->q + a->n_rows * 8 * 64);
  seen.k.assign(a->k, a->k + a->n_rows * 2 * 64);
  seen.v.assign(a->v, a->v + a->n_rows * 2 * 64);
  return static_cast<int>(seen.layers.size()) < seen.stop_after ? 1 : 0;
}

EnginePtr attention_engine(SeenAttention& seen, runnel_engine_options options = demo_options()) {
  options.on_attention = take_attention;
  options.attention_user = &seen;
  runnel_engine* engine = nullptr;
  REQUIRE_MESSAGE(runnel_engine_create(&options, &engine) == RUNNEL_OK, runnel_last_error());
  return {engine, runnel_engine_destroy};
}

}  // namespace

TEST_CASE("Attention inputs: every attention layer's are reported, and nothing else changes") {
  SeenAttention one, chunked, elsewhere;
  const EnginePtr watched = attention_engine(one), plain = demo_engine();
  const std::vector<int32_t> ids = demo_ids(plain.get(), "The cell is the unit of life.");
  const SessionPtr a = demo_session(watched.get()), b = demo_session(plain.get());
  REQUIRE(runnel_session_append(a.get(), ids.data(), ids.size()) == RUNNEL_OK);
  REQUIRE(runnel_session_append(b.get(), ids.data(), ids.size()) == RUNNEL_OK);
  CHECK(logits_of(a.get()) == logits_of(b.get()));
  CHECK(one.layers == std::vector<int>{2, 4, 6});
  REQUIRE(one.k.size() == ids.size() * 128);
  CHECK(one.v != one.k);
  // The last token alone has the same row: what is reported is what is stored.
  const EnginePtr again = attention_engine(chunked);
  const SessionPtr c = demo_session(again.get());
  REQUIRE(runnel_session_append(c.get(), ids.data(), ids.size() - 1) == RUNNEL_OK);
  REQUIRE(runnel_session_append(c.get(), &ids.back(), 1) == RUNNEL_OK);
  CHECK(chunked.layers == std::vector<int>{2, 4, 6, 2, 4, 6});
  REQUIRE(chunked.k.size() == 128);
  CHECK(std::equal(chunked.k.begin(), chunked.k.end(), one.k.end() - 128));
  CHECK(std::equal(chunked.v.begin(), chunked.v.end(), one.v.end() - 128));
  CHECK(std::equal(chunked.q.begin(), chunked.q.end(), one.q.end() - 512));
  runnel_engine_options reference = demo_options();
  reference.backend = "reference";
  const EnginePtr other = attention_engine(elsewhere, reference);
  const SessionPtr d = demo_session(other.get());
  REQUIRE(runnel_session_append(d.get(), ids.data(), ids.size()) == RUNNEL_OK);
  REQUIRE(elsewhere.k.size() == one.k.size());
  for (std::size_t i = 0; i < one.k.size(); ++i)
    CHECK(elsewhere.k[i] == doctest::Approx(one.k[i]).epsilon(0.2));
}

TEST_CASE("Attention inputs: 0 stops the step; sessions with tiles show nothing") {
  SeenAttention seen;
  const EnginePtr engine = attention_engine(seen);
  const std::vector<int32_t> ids = demo_ids(engine.get(), "The cell is the unit of life.");
  runnel_session_options tiled;
  runnel_session_options_init(&tiled);
  tiled.kv = "kv8";
  runnel_session* session = nullptr;
  REQUIRE(runnel_session_create(engine.get(), &tiled, &session) == RUNNEL_OK);
  const SessionPtr owner{session, runnel_session_destroy};
  REQUIRE(runnel_session_append(session, ids.data(), ids.size()) == RUNNEL_OK);
  CHECK(seen.layers.empty());
  seen.stop_after = 2;
  const SessionPtr plain = demo_session(engine.get());
  CHECK(runnel_session_append(plain.get(), ids.data(), ids.size()) == RUNNEL_ERROR_CANCELLED);
  CHECK(seen.layers.size() == 2);
}

}  // namespace runnel::tests
