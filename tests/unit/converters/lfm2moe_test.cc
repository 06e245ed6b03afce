#include <doctest/doctest.h>

#include <string>

#include "tests/unit/converters/test_model.h"

using namespace runnel;
using namespace runnel::converters;
using namespace runnel::converters::test;

namespace {

std::string expert(int layer, int e, const char* part) {
  return "model.layers." + std::to_string(layer) + ".feed_forward.experts." + std::to_string(e) +
         "." + part + ".weight";
}

// The same checkpoint with the experts of each layer in two tensors.
TestModel fuse(TestModel model, const char* ending) {
  for (int layer = 1; layer < 4; ++layer) {
    TestTensor gate_up{"BF16", {8, 128, 128}, ""};
    TestTensor down{"BF16", {8, 128, 64}, ""};
    for (int e = 0; e < 8; ++e) {
      gate_up.data += model.tensors.at(expert(layer, e, "w1")).data;
      gate_up.data += model.tensors.at(expert(layer, e, "w3")).data;
      down.data += model.tensors.at(expert(layer, e, "w2")).data;
      for (const char* part : {"w1", "w2", "w3"}) model.tensors.erase(expert(layer, e, part));
    }
    const std::string experts = "model.layers." + std::to_string(layer) + ".feed_forward.experts.";
    model.tensors[experts + "gate_up_proj" + ending] = gate_up;
    model.tensors[experts + "down_proj" + ending] = down;
  }
  return model;
}

}  // namespace

TEST_CASE("Lfm2moe stacks its experts in order") {
  const TestModel model = TestModel::load("tiny-lfm2moe");
  const Converted out(model);
  REQUIRE_MESSAGE(out.status.ok(), out.status.message());
  CHECK(out.shape("blk.1.ffn_gate_exps.weight") == "[8, 64, 128]");
  CHECK(out.shape("blk.1.ffn_up_exps.weight") == "[8, 64, 128]");
  CHECK(out.shape("blk.1.ffn_down_exps.weight") == "[8, 128, 64]");
  CHECK(out.shape("blk.0.ffn_gate.weight") == "[256, 128]");
  CHECK(out.shape("blk.0.ffn_gate_inp.weight") == "absent");
  struct Row {
    const char *gguf, *part;
  };
  for (const Row& row :
       {Row{"ffn_gate_exps", "w1"}, Row{"ffn_up_exps", "w3"}, Row{"ffn_down_exps", "w2"}}) {
    const std::vector<float> stacked = out.values("blk.2." + std::string(row.gguf) + ".weight");
    std::vector<float> expected;
    for (int e = 0; e < 8; ++e) {
      const std::vector<float> one = model.tensors.at(expert(2, e, row.part)).values();
      expected.insert(expected.end(), one.begin(), one.end());
    }
    CHECK(stacked == expected);
  }
}

TEST_CASE("Lfm2moe keeps router and expert bias in f32 and writes its keys") {
  const TestModel model = TestModel::load("tiny-lfm2moe");
  const Converted out(model, "bf16");
  REQUIRE(out.status.ok());
  CHECK(out.file->tensor("blk.1.ffn_gate_inp.weight")->dtype == quant::DType::f32);
  CHECK(out.file->tensor("blk.1.exp_probs_b.bias")->dtype == quant::DType::f32);
  CHECK(out.file->tensor("blk.1.ffn_gate_exps.weight")->dtype == quant::DType::bf16);
  CHECK(out.values("blk.3.exp_probs_b.bias") ==
        model.tensors.at("model.layers.3.feed_forward.expert_bias").values());
  CHECK(out.values("blk.3.ffn_gate_inp.weight") ==
        model.tensors.at("model.layers.3.feed_forward.gate.weight").values());
  CHECK(out.text("general.architecture") == "lfm2moe");
  CHECK(out.integer("lfm2moe.expert_count") == 8);
  CHECK(out.integer("lfm2moe.expert_used_count") == 2);
  CHECK(out.integer("lfm2moe.expert_feed_forward_length") == 64);
  CHECK(out.integer("lfm2moe.feed_forward_length") == 256);
  CHECK(out.integer("lfm2moe.leading_dense_block_count") == 1);
  CHECK(out.integer("lfm2moe.expert_gating_func") == 2);
  CHECK(out.number("lfm2moe.expert_weights_scale") == 1.0);
  CHECK(out.integer("lfm2moe.expert_weights_norm") == 1);
  CHECK(out.integer("lfm2moe.shortconv.l_cache") == 3);
}

TEST_CASE("Lfm2moe reads fused experts as the same model") {
  const TestModel model = TestModel::load("tiny-lfm2moe");
  const Converted apart(model, "bf16");
  for (const char* ending : {"", ".weight"}) {
    const Converted fused(fuse(model, ending), "bf16");
    REQUIRE_MESSAGE(fused.status.ok(), fused.status.message());
    REQUIRE(fused.file->tensors().size() == apart.file->tensors().size());
    for (const GgufTensor& tensor : apart.file->tensors()) {
      CAPTURE(tensor.name);
      CHECK(fused.shape(tensor.name) == tensor.shape.to_string());
      CHECK(fused.values(tensor.name) == apart.values(tensor.name));
    }
  }
}

TEST_CASE("Lfm2moe switches travel") {
  TestModel model = TestModel::load("tiny-lfm2moe");
  model.config["norm_topk_prob"] = false;
  model.config["routed_scaling_factor"] = 2.5;
  model.config["use_expert_bias"] = false;
  CHECK(mentions(Converted(model).status, "expert_bias"));  // there, but nobody's
  for (int layer = 1; layer < 4; ++layer)
    model.tensors.erase("model.layers." + std::to_string(layer) + ".feed_forward.expert_bias");
  const Converted out(model);
  REQUIRE_MESSAGE(out.status.ok(), out.status.message());
  CHECK(out.integer("lfm2moe.expert_weights_norm") == 0);
  CHECK(out.number("lfm2moe.expert_weights_scale") == 2.5);
  CHECK(out.shape("blk.1.exp_probs_b.bias") == "absent");
}

TEST_CASE("Lfm2moe names bad experts and bad keys") {
  const TestModel base = TestModel::load("tiny-lfm2moe");
  TestModel model = base;
  model.tensors.erase(expert(2, 5, "w3"));
  CHECK(mentions(Converted(model).status, "'" + expert(2, 5, "w3") + "' is missing"));
  model.tensors[expert(2, 5, "w3")] = make_tensor("BF16", {128, 64}, 1);
  CHECK(mentions(Converted(model).status, expert(2, 5, "w3")));
  model.tensors[expert(2, 5, "w3")] = make_tensor("F32", {64, 128}, 1);
  CHECK(mentions(Converted(model).status, expert(2, 5, "w3")));
  model.tensors[expert(2, 5, "w3")] = base.tensors.at(expert(2, 5, "w3"));
  model.config["num_experts"] = 7;
  CHECK(mentions(Converted(model).status, "feed_forward.gate.weight"));
  TestModel fused = fuse(base, "");
  fused.tensors["model.layers.2.feed_forward.experts.gate_up_proj"].shape = {8, 64, 256};
  CHECK(mentions(Converted(fused).status, "gate_up_proj"));
  const auto rejects = [&](const char* key, const char* value) {
    CAPTURE(key);
    CAPTURE(value);
    TestModel changed = base;
    changed.config[key] = Json::parse(value);
    CHECK(mentions(Converted(changed).status, key));
  };
  for (const char* key : {"num_experts", "num_experts_per_tok"})
    for (const char* value : {"\"8\"", "[]", "true", "0", "-1", "5000000000", "null"})
      rejects(key, value);
  for (const char* value : {"\"1\"", "-1", "4", "1.5"}) rejects("num_dense_layers", value);
  for (const char* value : {"\"1\"", "0", "-1", "[]"}) rejects("routed_scaling_factor", value);
  for (const char* key : {"norm_topk_prob", "use_expert_bias"})
    for (const char* value : {"\"1\"", "0", "[]"}) rejects(key, value);
  rejects("num_experts_per_tok", "9");
  rejects("intermediate_size", "\"x\"");
}
