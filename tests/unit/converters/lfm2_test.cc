#include <doctest/doctest.h>

#include <string>

#include "tests/unit/converters/test_model.h"

using namespace runnel;
using namespace runnel::converters;
using namespace runnel::converters::test;

namespace {

std::vector<std::int64_t> kv_heads(const Converted& out) {
  const auto value = out.file->get_ints("lfm2.attention.head_count_kv");
  return value.ok() ? value->value_or(std::vector<std::int64_t>()) : std::vector<std::int64_t>();
}

}  // namespace

TEST_CASE("Lfm2 converts to f32 with every name, shape and value") {
  const TestModel model = TestModel::load("tiny-lfm2");
  const Converted out(model);
  REQUIRE_MESSAGE(out.status.ok(), out.status.message());
  CHECK(out.file->tensors().size() == 8 * 2 + 11 * 2 + 2);
  CHECK(out.summary.architecture == "lfm2");
  CHECK(out.summary.n_tensors == 40);
  struct Row {
    const char *gguf, *hf, *shape;
  };
  for (const Row& row : {
           Row{"token_embd.weight", "model.embed_tokens.weight", "[320, 128]"},
           Row{"token_embd_norm.weight", "model.embedding_norm.weight", "[128]"},
           Row{"blk.0.attn_norm.weight", "model.layers.0.operator_norm.weight", "[128]"},
           Row{"blk.0.shortconv.in_proj.weight", "model.layers.0.conv.in_proj.weight",
               "[384, 128]"},
           Row{"blk.2.shortconv.conv.weight", "model.layers.2.conv.conv.weight", "[128, 3]"},
           Row{"blk.2.shortconv.out_proj.weight", "model.layers.2.conv.out_proj.weight",
               "[128, 128]"},
           Row{"blk.1.attn_q.weight", "model.layers.1.self_attn.q_proj.weight", "[128, 128]"},
           Row{"blk.1.attn_k.weight", "model.layers.1.self_attn.k_proj.weight", "[64, 128]"},
           Row{"blk.1.attn_v.weight", "model.layers.1.self_attn.v_proj.weight", "[64, 128]"},
           Row{"blk.3.attn_output.weight", "model.layers.3.self_attn.out_proj.weight",
               "[128, 128]"},
           Row{"blk.3.attn_q_norm.weight", "model.layers.3.self_attn.q_layernorm.weight", "[64]"},
           Row{"blk.3.attn_k_norm.weight", "model.layers.3.self_attn.k_layernorm.weight", "[64]"},
           Row{"blk.3.ffn_norm.weight", "model.layers.3.ffn_norm.weight", "[128]"},
           Row{"blk.3.ffn_gate.weight", "model.layers.3.feed_forward.w1.weight", "[256, 128]"},
           Row{"blk.3.ffn_up.weight", "model.layers.3.feed_forward.w3.weight", "[256, 128]"},
           Row{"blk.3.ffn_down.weight", "model.layers.3.feed_forward.w2.weight", "[128, 256]"},
       }) {
    CAPTURE(row.gguf);
    CHECK(out.shape(row.gguf) == row.shape);
    CHECK(out.values(row.gguf) == model.tensors.at(row.hf).values());
  }
}

TEST_CASE("Lfm2 writes the metadata") {
  const Converted out(TestModel::load("tiny-lfm2"));
  REQUIRE(out.status.ok());
  CHECK(out.text("general.architecture") == "lfm2");
  CHECK(out.integer("general.file_type") == 0);
  CHECK(out.integer("general.quantization_version") == 2);
  CHECK(out.integer("lfm2.block_count") == 4);
  CHECK(out.integer("lfm2.context_length") == 4096);
  CHECK(out.integer("lfm2.embedding_length") == 128);
  CHECK(out.integer("lfm2.feed_forward_length") == 256);
  CHECK(out.integer("lfm2.vocab_size") == 320);
  CHECK(out.integer("lfm2.attention.head_count") == 2);
  CHECK(kv_heads(out) == std::vector<std::int64_t>{0, 1, 0, 1});
  CHECK(out.file->find("lfm2.attention.head_count_kv")->element_type == GgufType::i32);
  CHECK(out.number("lfm2.attention.layer_norm_rms_epsilon") == doctest::Approx(1e-5));
  CHECK(out.number("lfm2.rope.freq_base") == 1e6);
  CHECK(out.integer("lfm2.rope.dimension_count") == 64);
  CHECK(out.integer("lfm2.attention.key_length") == 64);
  CHECK(out.integer("lfm2.shortconv.l_cache") == 3);
  CHECK(out.file->find("tokenizer.ggml.model") == nullptr);
  REQUIRE(out.summary.notes.size() == 1);
  CHECK(out.summary.notes[0].find("tokenizer.json") != std::string::npos);
}

TEST_CASE("Lfm2 in bf16 keeps the bits and the floats that must stay") {
  const TestModel model = TestModel::load("tiny-lfm2");
  const Converted out(model, "");  // no recipe: as the source
  REQUIRE(out.status.ok());
  CHECK(out.summary.recipe == "bf16");
  CHECK(out.integer("general.file_type") == 32);
  const GgufTensor* embedding = out.file->tensor("token_embd.weight");
  REQUIRE(embedding->dtype == quant::DType::bf16);
  const std::string& source = model.tensors.at("model.embed_tokens.weight").data;
  CHECK(std::string(reinterpret_cast<const char*>(embedding->data.data()),
                    embedding->data.size()) == source);
  CHECK(out.file->tensor("blk.0.shortconv.conv.weight")->dtype == quant::DType::f32);
  CHECK(out.file->tensor("blk.0.attn_norm.weight")->dtype == quant::DType::f32);
  CHECK(out.values("blk.0.shortconv.conv.weight") ==
        model.tensors.at("model.layers.0.conv.conv.weight").values());
}

TEST_CASE("Lfm2 trusts the tensors where the config asks for an adjusted width") {
  const Converted out(TestModel::load("tiny-lfm2-autoff"));
  REQUIRE(out.status.ok());
  CHECK(out.integer("lfm2.feed_forward_length") == 256);
  CHECK(out.integer("lfm2.shortconv.l_cache") == 4);
  CHECK(out.integer("lfm2.attention.key_length") == 32);
  CHECK(out.shape("blk.0.shortconv.conv.weight") == "[128, 4]");
  CHECK(kv_heads(out) == std::vector<std::int64_t>{0, 0, 2});
}

TEST_CASE("Lfm2 reads every spelling of its config") {
  const TestModel base = TestModel::load("tiny-lfm2");
  const auto with = [&](const char* patch) {
    TestModel model = base;
    model.config.merge_patch(Json::parse(patch));  // null removes a key
    return model;
  };
  const std::vector<std::int64_t> alternate{0, 1, 0, 1};
  CHECK(kv_heads(Converted(with(R"({"layer_types":null,"full_attn_idxs":[1,3]})"))) == alternate);
  CHECK(kv_heads(Converted(with(R"({"layer_types":null,"full_attn_idxs":null})"))) == alternate);
  TestModel nulls = base;
  nulls.config["layer_types"] = nullptr;
  nulls.config["full_attn_idxs"] = nullptr;
  CHECK(kv_heads(Converted(nulls)) == alternate);

  const auto theta = [&](const char* patch) {
    return Converted(with(patch)).number("lfm2.rope.freq_base");
  };
  CHECK(theta(R"({"rope_parameters":null})") == 1e6);
  CHECK(theta(R"({"rope_parameters":null,"rope_theta":5e6})") == 5e6);
  CHECK(theta(R"({"rope_parameters":{"rope_theta":1e7}})") == 1e7);
  CHECK(theta(R"({"rope_parameters":null,"theta":2e6})") == 2e6);

  const auto epsilon = [&](const char* patch) {
    return Converted(with(patch)).number("lfm2.attention.layer_norm_rms_epsilon");
  };
  CHECK(epsilon(R"({"norm_eps":1e-6})") == doctest::Approx(1e-6));
  CHECK(epsilon(R"({"norm_eps":null,"block_norm_eps":2e-6})") == doctest::Approx(2e-6));
  CHECK(epsilon(R"({"norm_eps":null})") == doctest::Approx(1e-5));

  for (const char* patch :
       {R"({"intermediate_size":null,"block_ff_dim":384,"block_auto_adjust_ff_dim":true})",
        R"({"intermediate_size":12288,"block_ff_dim":256})", R"({"intermediate_size":null})",
        R"({"block_ffn_dim_multiplier":null})", R"({"num_attention_heads":null,"num_heads":2})",
        R"({"hidden_size":null})", R"({"conv_L_cache":null,"conv_bias":null})",
        R"({"architectures":null})", R"({"model_type":null})",
        R"({"architectures":["LFM2ForCausalLM"]})"}) {
    CAPTURE(patch);
    const Converted out(with(patch));
    CHECK_MESSAGE(out.status.ok(), out.status.message());
    CHECK(out.integer("lfm2.feed_forward_length") == 256);
    CHECK(out.integer("lfm2.shortconv.l_cache") == 3);
  }
}

TEST_CASE("Lfm2 writes a head only when it is not tied") {
  const auto convert_with = [](const char* patch, bool with_head) {
    TestModel model = TestModel::load("tiny-lfm2");
    model.config.erase("tie_word_embeddings");
    model.config.merge_patch(Json::parse(patch));
    if (with_head) model.tensors["lm_head.weight"] = make_tensor("BF16", {320, 128}, 9);
    return Converted(model).shape("output.weight");
  };
  CHECK(convert_with(R"({"tie_embedding":true})", true) == "absent");
  CHECK(convert_with(R"({"tie_word_embeddings":true})", true) == "absent");
  CHECK(convert_with(R"({"tie_embedding":true,"tie_word_embeddings":false})", true) == "absent");
  CHECK(convert_with(R"({"tie_word_embeddings":false})", true) == "[320, 128]");
  CHECK(convert_with("{}", true) == "[320, 128]");
  CHECK(convert_with("{}", false) == "absent");
  TestModel untied = TestModel::load("tiny-lfm2");
  untied.config["tie_word_embeddings"] = false;
  const Converted out(untied);
  CHECK(mentions(out.status, "lm_head.weight"));
  untied.tensors["lm_head.weight"] = make_tensor("BF16", {320, 64}, 9);
  CHECK(Converted(untied).status.code() == Code::corrupt);
}

TEST_CASE("Lfm2 writes the biases of its convolutions") {
  TestModel model = TestModel::load("tiny-lfm2");
  for (const char* layer : {"model.layers.0.", "model.layers.2."}) {
    const std::string conv = std::string(layer) + "conv.";
    model.tensors[conv + "conv.bias"] = make_tensor("BF16", {128}, 5);
    model.tensors[conv + "in_proj.bias"] = make_tensor("BF16", {384}, 6);
    model.tensors[conv + "out_proj.bias"] = make_tensor("BF16", {128}, 7);
  }
  for (const Json& setting : {Json(true), Json(nullptr)}) {
    model.config["conv_bias"] = setting;
    const Converted out(model, "bf16");
    REQUIRE_MESSAGE(out.status.ok(), out.status.message());
    CHECK(out.values("blk.2.shortconv.conv.bias") == make_tensor("BF16", {128}, 5).values());
    CHECK(out.values("blk.0.shortconv.in_proj.bias") == make_tensor("BF16", {384}, 6).values());
    CHECK(out.values("blk.0.shortconv.out_proj.bias") == make_tensor("BF16", {128}, 7).values());
    CHECK(out.file->tensor("blk.0.shortconv.conv.bias")->dtype == quant::DType::f32);
  }
  model.config["conv_bias"] = false;  // tensors nobody would use
  CHECK(mentions(Converted(model).status, "conv.bias"));
  model.config["conv_bias"] = true;
  model.tensors.erase("model.layers.2.conv.in_proj.bias");
  CHECK(mentions(Converted(model).status, "'model.layers.2.conv.in_proj.bias' is missing"));
}

TEST_CASE("Lfm2 finds the text model behind its prefixes and skips the rest with a note") {
  for (const char* prefix :
       {"", "lfm.", "language_model.", "language_model.model.", "model.language_model."}) {
    CAPTURE(prefix);
    TestModel model = TestModel::load("tiny-lfm2");
    model.rename_prefix("model.", prefix);
    const bool whole = std::string(prefix).empty();
    if (!whole) model.tensors["model.vision_tower.x.weight"] = make_tensor("BF16", {4, 4}, 1);
    const Converted out(model);
    REQUIRE_MESSAGE(out.status.ok(), out.status.message());
    CHECK(out.file->tensors().size() == 40);
    CHECK(out.summary.notes.size() == (whole ? 1 : 2));
    if (!whole) CHECK(out.summary.notes[0].find("vision_tower") != std::string::npos);
  }
}

TEST_CASE("Lfm2 reads the text_config of a vision model") {
  TestModel model = TestModel::load("tiny-lfm2");
  Json text = model.config;
  text.erase("architectures");
  text.erase("tie_word_embeddings");
  model.config = {{"architectures", {"Lfm2VlForConditionalGeneration"}},
                  {"model_type", "lfm2_vl"},
                  {"tie_word_embeddings", true},
                  {"text_config", text},
                  {"vision_config", {{"hidden_size", 64}}}};
  model.rename_prefix("model.", "model.language_model.");
  model.tensors["lm_head.weight"] = make_tensor("BF16", {320, 128}, 9);
  const Converted out(model);
  REQUIRE_MESSAGE(out.status.ok(), out.status.message());
  CHECK(out.integer("lfm2.embedding_length") == 128);
  CHECK(out.shape("output.weight") == "absent");
}

TEST_CASE("Lfm2 accepts filters with the taps before the one") {
  TestModel model = TestModel::load("tiny-lfm2");
  const Converted before(model);
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{128, 3, 1}, std::vector<std::int64_t>{128, 3}}) {
    model.tensors["model.layers.0.conv.conv.weight"].shape = shape;
    const Converted out(model);
    REQUIRE(out.status.ok());
    CHECK(out.values("blk.0.shortconv.conv.weight") ==
          before.values("blk.0.shortconv.conv.weight"));
  }
  model.tensors["model.layers.0.conv.conv.weight"].shape = {3, 1, 128};
  CHECK(mentions(Converted(model).status, "model.layers.0.conv.conv.weight"));
}

TEST_CASE("Lfm2 names every missing, misshapen or foreign tensor") {
  const TestModel base = TestModel::load("tiny-lfm2-autoff");
  for (const auto& [name, tensor] : base.tensors) {
    CAPTURE(name);
    TestModel model = base;
    model.tensors.erase(name);
    const Converted missing(model);
    CHECK(missing.status.code() == Code::corrupt);
    CHECK_MESSAGE(mentions(missing.status, "'" + name + "' is missing"), missing.status.message());

    model.tensors[name] = make_tensor("BF16", {7, 5}, 1);
    const Converted misshapen(model);
    CHECK_FALSE(misshapen.status.ok());
    if (name != "model.embed_tokens.weight" && name != "model.layers.0.feed_forward.w1.weight")
      CHECK_MESSAGE(mentions(misshapen.status, name), misshapen.status.message());

    model.tensors[name] = tensor;
    model.tensors[name].dtype = "I16";
    const Converted foreign(model);
    CHECK(foreign.status.code() == Code::unsupported);
    CHECK(mentions(foreign.status, name));
  }
  TestModel extra = base;
  extra.tensors["model.layers.0.surprise.weight"] = make_tensor("BF16", {2}, 1);
  CHECK(mentions(Converted(extra).status, "surprise"));
  extra.tensors.erase("model.layers.0.surprise.weight");
  extra.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = make_tensor("F32", {16}, 1);
  CHECK(Converted(extra).status.ok());
}

TEST_CASE("Lfm2 rejects values of the wrong type for every config key it reads") {
  const TestModel base = TestModel::load("tiny-lfm2-autoff");
  const auto rejects = [&](const char* key, const char* value) {
    CAPTURE(key);
    CAPTURE(value);
    TestModel model = base;
    model.config[key] = Json::parse(value);
    const Converted out(model);
    CHECK_FALSE(out.status.ok());
    CHECK_MESSAGE(mentions(out.status, key), out.status.message());
  };
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_attention_heads",
                          "num_key_value_heads", "head_dim", "max_position_embeddings"})
    for (const char* value : {"\"8\"", "[]", "{}", "true", "1.5", "0", "-1", "4294967296"})
      rejects(key, value);
  for (const char* key : {"norm_eps", "rope_theta"})
    for (const char* value : {"\"8\"", "[]", "{}", "true", "0", "-1"}) rejects(key, value);
  for (const char* key : {"conv_bias", "tie_word_embeddings", "tie_embedding"})
    for (const char* value : {"\"8\"", "[]", "{}", "1"}) rejects(key, value);
  for (const char* value : {"\"8\"", "{}", "1", "[1]", "[]", "[\"conv\"]"})
    rejects("layer_types", value);
  TestModel indices = base;
  indices.config.erase("layer_types");
  for (const char* value : {"\"8\"", "{}", "1", "[\"a\"]", "[3]", "[-1]"}) {
    indices.config["full_attn_idxs"] = Json::parse(value);
    CHECK(mentions(Converted(indices).status, "full_attn_idxs"));
  }
  for (const char* value : {"\"8\"", "[]", "1", R"({"rope_theta":"x"})", R"({"rope_theta":0})"})
    rejects("rope_parameters", value);
  rejects("rope_scaling", "3");
  rejects("architectures", "3");
  rejects("architectures", "[3]");
  rejects("model_type", "3");
  rejects("text_config", "3");
  rejects("sliding_window", "256");
  rejects("quantization_config", "{}");
  rejects("_name_or_path", "3");
}

TEST_CASE("Lfm2 names what it does not support") {
  TestModel model = TestModel::load("tiny-lfm2-autoff");
  model.config["layer_types"][0] = "sliding_attention";
  CHECK(Converted(model).status.code() == Code::unsupported);
  model.config["architectures"][0] = "Lfm9ForCausalLM";
  CHECK(mentions(Converted(model).status, "'Lfm9ForCausalLM'"));
  model.config.erase("architectures");
  model.config["model_type"] = "lfm9";
  CHECK(mentions(Converted(model).status, "'lfm9'"));
}
