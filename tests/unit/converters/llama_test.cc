#include <doctest/doctest.h>

#include <string>

#include "converters/rope.h"
#include "tests/unit/converters/test_model.h"

using namespace runnel;
using namespace runnel::converters;
using namespace runnel::converters::test;

namespace {

// Undoes the interleaving: half-rotation row j*d/2+i is stored as row 2i+j of its head.
std::vector<float> back_to_halves(const std::vector<float>& rows,
                                  std::size_t head_dim,
                                  std::size_t cols) {
  std::vector<float> out(rows.size());
  for (std::size_t row = 0; row < rows.size() / cols; ++row) {
    const std::size_t head = row / head_dim, i = row % head_dim / 2, j = row % 2;
    const std::size_t to = head * head_dim + j * head_dim / 2 + i;
    std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(row * cols), cols,
                out.begin() + static_cast<std::ptrdiff_t>(to * cols));
  }
  return out;
}

}  // namespace

TEST_CASE("Llama interleaves q and k rows and nothing else") {
  const TestModel model = TestModel::load("tiny-llama");
  const Converted out(model);
  REQUIRE_MESSAGE(out.status.ok(), out.status.message());
  CHECK(out.file->tensors().size() == 3 + 2 * 9);
  for (const char* part : {"q", "k"}) {
    const std::string hf = "model.layers.1.self_attn." + std::string(part) + "_proj.weight";
    const std::vector<float> stored = out.values("blk.1.attn_" + std::string(part) + ".weight");
    const std::vector<float> source = model.tensors.at(hf).values();
    CHECK(stored != source);
    CHECK(back_to_halves(stored, 64, 128) == source);
    // Row 1 of the first head is the first row of its second half.
    CHECK(std::equal(stored.begin() + 128, stored.begin() + 256, source.begin() + 32 * 128));
  }
  struct Row {
    const char *gguf, *hf;
  };
  for (const Row& row :
       {Row{"token_embd.weight", "model.embed_tokens.weight"},
        Row{"output.weight", "lm_head.weight"}, Row{"output_norm.weight", "model.norm.weight"},
        Row{"blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight"},
        Row{"blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight"},
        Row{"blk.0.attn_output.weight", "model.layers.0.self_attn.o_proj.weight"},
        Row{"blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight"},
        Row{"blk.0.ffn_gate.weight", "model.layers.0.mlp.gate_proj.weight"},
        Row{"blk.0.ffn_up.weight", "model.layers.0.mlp.up_proj.weight"},
        Row{"blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj.weight"}}) {
    CAPTURE(row.gguf);
    CHECK(out.values(row.gguf) == model.tensors.at(row.hf).values());
  }
}

TEST_CASE("Llama writes its metadata") {
  const Converted out(TestModel::load("tiny-llama"), "bf16");
  REQUIRE(out.status.ok());
  CHECK(out.text("general.architecture") == "llama");
  CHECK(out.integer("llama.block_count") == 2);
  CHECK(out.integer("llama.context_length") == 4096);
  CHECK(out.integer("llama.embedding_length") == 128);
  CHECK(out.integer("llama.feed_forward_length") == 256);
  CHECK(out.integer("llama.vocab_size") == 320);
  CHECK(out.integer("llama.attention.head_count") == 2);
  CHECK(out.integer("llama.attention.head_count_kv") == 1);
  CHECK(out.integer("llama.attention.key_length") == 64);
  CHECK(out.integer("llama.attention.value_length") == 64);
  CHECK(out.integer("llama.rope.dimension_count") == 64);
  CHECK(out.number("llama.rope.freq_base") == 500000);
  CHECK(out.number("llama.attention.layer_norm_rms_epsilon") == doctest::Approx(1e-6));
  CHECK(out.text("llama.rope.scaling.type") == "absent");
  CHECK(out.shape("rope_freqs.weight") == "absent");
}

TEST_CASE("Llama writes rope scaling") {
  TestModel model = TestModel::load("tiny-llama");
  model.config["rope_scaling"] = {{"type", "linear"}, {"factor", 4.0}};
  model.config.erase("rope_parameters");
  const Converted linear(model);
  REQUIRE(linear.status.ok());
  CHECK(linear.text("llama.rope.scaling.type") == "linear");
  CHECK(linear.number("llama.rope.scaling.factor") == 4);
  model.config["rope_scaling"] = {{"rope_type", "llama3"},
                                  {"factor", 32.0},
                                  {"low_freq_factor", 1.0},
                                  {"high_freq_factor", 4.0},
                                  {"original_max_position_embeddings", 64}};
  const Converted llama3(model, "bf16");
  REQUIRE(llama3.status.ok());
  CHECK(llama3.shape("rope_freqs.weight") == "[32]");
  CHECK(llama3.file->tensor("rope_freqs.weight")->dtype == quant::DType::f32);
  const RopeConfig rope{RopeKind::llama3, 10000, 32, 1, 4, 64};
  CHECK(llama3.values("rope_freqs.weight") == llama3_divisors(rope, 64));
  CHECK(llama3.values("rope_freqs.weight").back() == 32);
}

TEST_CASE("Llama names what it does not support") {
  const TestModel base = TestModel::load("tiny-llama");
  const auto refuses = [&](const char* key, const char* value) {
    CAPTURE(key);
    TestModel model = base;
    model.config[key] = Json::parse(value);
    const Converted out(model);
    CHECK(out.status.code() == Code::unsupported);
    CHECK(mentions(out.status, key));
  };
  refuses("attention_bias", "true");
  refuses("mlp_bias", "true");
  refuses("hidden_act", "\"gelu\"");
  TestModel bias = base;  // not announced by the config
  bias.tensors["model.layers.0.self_attn.q_proj.bias"] = make_tensor("BF16", {128}, 1);
  CHECK(mentions(Converted(bias).status, "q_proj.bias"));
}

TEST_CASE("Llama rejects values of the wrong type and impossible heads") {
  const TestModel base = TestModel::load("tiny-llama");
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_attention_heads",
                          "num_key_value_heads", "head_dim", "max_position_embeddings"}) {
    for (const char* value : {"\"8\"", "[]", "{}", "true", "1.5", "0", "-1", "4294967296"}) {
      CAPTURE(key);
      CAPTURE(value);
      TestModel model = base;
      model.config[key] = Json::parse(value);
      CHECK(mentions(Converted(model).status, key));
    }
  }
  TestModel model = base;
  model.config["rms_norm_eps"] = "1e-6";
  CHECK(mentions(Converted(model).status, "rms_norm_eps"));
  model = base;
  model.config["num_key_value_heads"] = 3;
  CHECK(mentions(Converted(model).status, "num_key_value_heads"));
  model = base;
  model.config["head_dim"] = 63;
  CHECK(mentions(Converted(model).status, "head_dim"));
  model = base;
  model.config["num_hidden_layers"] = 3;
  CHECK(mentions(Converted(model).status, "model.layers.2.input_layernorm.weight"));
  model.config["num_hidden_layers"] = 1;  // the second layer is left over
  CHECK(mentions(Converted(model).status, "model.layers.1."));
}
