// on_activations: what every weight is multiplied with.
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

}  // namespace runnel::tests
