#include <doctest/doctest.h>

#include <string>

#include "tests/unit/converters/test_model.h"

using namespace runnel;
using namespace runnel::converters;
using namespace runnel::converters::test;

TEST_CASE("Qwen3 keeps row order and writes per-head norms") {
  const TestModel model = TestModel::load("tiny-qwen3");
  const Converted out(model);
  REQUIRE_MESSAGE(out.status.ok(), out.status.message());
  CHECK(out.file->tensors().size() == 2 + 2 * 11);
  struct Row {
    const char *gguf, *hf;
  };
  for (const Row& row : {Row{"blk.1.attn_q.weight", "model.layers.1.self_attn.q_proj.weight"},
                         Row{"blk.1.attn_k.weight", "model.layers.1.self_attn.k_proj.weight"},
                         Row{"blk.1.attn_q_norm.weight", "model.layers.1.self_attn.q_norm.weight"},
                         Row{"blk.1.attn_k_norm.weight", "model.layers.1.self_attn.k_norm.weight"},
                         Row{"output_norm.weight", "model.norm.weight"}}) {
    CAPTURE(row.gguf);
    CHECK(out.values(row.gguf) == model.tensors.at(row.hf).values());
  }
  CHECK(out.shape("output.weight") == "absent");
  CHECK(out.text("general.architecture") == "qwen3");
  CHECK(out.integer("qwen3.attention.head_count_kv") == 1);
  CHECK(out.integer("qwen3.attention.key_length") == 64);
  CHECK(out.number("qwen3.rope.freq_base") == 1e6);
}

TEST_CASE("Qwen3 names what it does not support") {
  const TestModel base = TestModel::load("tiny-qwen3");
  for (const char* patch :
       {R"({"attention_bias":true})", R"({"use_sliding_window":true})",
        R"({"rope_parameters":{"rope_type":"llama3"}})",
        R"({"rope_parameters":{"rope_type":"yarn"}})", R"({"hidden_act":"relu"})"}) {
    CAPTURE(patch);
    TestModel model = base;
    model.config.merge_patch(Json::parse(patch));
    CHECK(Converted(model).status.code() == Code::unsupported);
  }
}
