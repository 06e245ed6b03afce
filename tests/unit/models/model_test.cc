#include <cmath>

#include "runtime/models/synthetic.h"
#include "tests/unit/models/files.h"

namespace runnel::tests {
namespace {

void check_fails(const Status& status, Code code, const char* text) {
  CHECK(status.code() == code);
  CHECK_MESSAGE(status.message().find(text) != std::string::npos, status.message());
}

Status load_error(const std::vector<TensorSpec>& tensors,
                  const std::function<void(GgufWriter&)>& extra) {
  const GgufFile file = make_file(tensors, [&](GgufWriter& writer) {
    write_small_keys(writer);
    extra(writer);
  });
  const Result<Model> model = Model::load(file);
  if (!model.ok()) return model.status();
  return build_graph(*model, {4, quant::plain_kv(DType::f16), LogitsMode::last, 8}).status();
}

std::vector<TensorSpec> with(std::vector<TensorSpec> tensors,
                             const std::string& name,
                             const Shape& shape) {
  for (TensorSpec& t : tensors)
    if (t.name == name) t.shape = shape;
  return tensors;
}

std::vector<TensorSpec> without(std::vector<TensorSpec> tensors, const std::string& name) {
  std::erase_if(tensors, [&](const TensorSpec& t) { return t.name == name; });
  return tensors;
}

const auto kNothing = [](GgufWriter&) {};

}  // namespace

TEST_CASE("Model: layers and sizes come from the tensors") {
  const GgufFile file = make_file(small_lfm2(), [](GgufWriter& writer) {
    write_small_keys(writer);
    writer.set_u32("lfm2.attention.head_count_kv", 7);  // scalar, and wrong
    writer.set_u32("lfm2.feed_forward_length", 12288);  // wrong
    writer.set_string("general.name", "small");
  });
  const Result<Model> model = Model::load(file);
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  const ModelConfig& config = model->config;
  CHECK(model->name == "small");
  CHECK(config.n_vocab == 96);
  CHECK(config.d_model == 64);
  CHECK(config.head_dim == 32);
  CHECK(config.layers.size() == 2);
  CHECK(config.layers[0].kind == LayerKind::short_conv);
  CHECK(config.layers[1].n_kv_heads == 1);
  CHECK(config.conv_kernel == 3);
  CHECK(config.n_conv_layers() == 1);
  CHECK(config.norm_eps == 1e-5f);  // defaults of the family
  CHECK(config.rope.theta == 1e6f);
  const Result<Graph> graph =
      build_graph(*model, {16, quant::plain_kv(DType::f16), LogitsMode::last, 8});
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  CHECK(graph->value(graph->find_value("logits")).shape == Shape{1, 96});
  CHECK(graph->value(graph->find_value("blk.0.conv")).shape == Shape{10, 64});
  CHECK(graph->value(graph->find_value("blk.1.kv.k")).shape == Shape{1, kPageTokens, 32});
  const Result<Graph> all =
      build_graph(*model, {16, quant::plain_kv(DType::f16), LogitsMode::all, 8});
  REQUIRE(all.ok());
  CHECK(all->value(all->find_value("logits")).shape == Shape{16, 96});
}

TEST_CASE("Model: the final norm may have either name") {
  auto tensors = small_lfm2();
  tensors[1].name = "output_norm.weight";
  CHECK(load_error(tensors, kNothing).ok());
  check_fails(load_error(without(small_lfm2(), "token_embd_norm.weight"), kNothing),
              Code::not_found, "output_norm");
}

TEST_CASE("Model: an untied head is used when there is one") {
  auto tensors = small_lfm2();
  tensors.push_back({"output.weight", {96, 64}});
  const GgufFile file = make_file(tensors, write_small_keys);
  const Result<Graph> graph =
      build_graph(*Model::load(file), {1, quant::plain_kv(DType::f16), LogitsMode::last, 0});
  REQUIRE(graph.ok());
  CHECK(graph->find_value("output.weight") != kNoValue);
}

TEST_CASE("Model: missing and misshapen parts are errors that name them") {
  for (const TensorSpec& t : small_lfm2()) {
    const bool optional = t.name.ends_with("q_norm.weight") || t.name.ends_with("k_norm.weight");
    CAPTURE(t.name);
    CHECK(load_error(without(small_lfm2(), t.name), kNothing).ok() == optional);
    if (t.name.ends_with("conv.weight")) continue;  // the filter may have any length
    Shape wide = t.shape;
    wide.dim[static_cast<std::size_t>(wide.rank - 1)] += 32;
    CHECK(!load_error(with(small_lfm2(), t.name, wide), kNothing).ok());
  }
  check_fails(load_error(without(small_lfm2(), "blk.1.ffn_up.weight"), kNothing), Code::not_found,
              "blk.1.ffn_up.weight");
  check_fails(load_error(with(small_lfm2(), "blk.1.attn_q.weight", {63, 64}), kNothing),
              Code::corrupt, "blk.1.attn_q.weight");
  check_fails(load_error(with(small_lfm2(), "blk.1.attn_k.weight", {31, 64}), kNothing),
              Code::corrupt, "attn_k");
}

TEST_CASE("Model: bad keys are errors that name them") {
  struct Bad {
    const char* key;
    std::uint32_t value;
  };
  for (const Bad& bad :
       {Bad{"lfm2.block_count", 0}, Bad{"lfm2.block_count", 4000000000u},
        Bad{"lfm2.block_count", 3}, Bad{"lfm2.context_length", 0},
        Bad{"lfm2.attention.head_count", 0}, Bad{"lfm2.attention.head_count", 100000},
        Bad{"lfm2.attention.head_count", 3}, Bad{"lfm2.attention.key_length", 0},
        Bad{"lfm2.attention.key_length", 33}, Bad{"lfm2.rope.dimension_count", 31},
        Bad{"lfm2.rope.dimension_count", 64}}) {
    CAPTURE(bad.key);
    CAPTURE(bad.value);
    CHECK(!load_error(small_lfm2(), [&](GgufWriter& w) { w.set_u32(bad.key, bad.value); }).ok());
  }
  const auto eps = [](float value) {
    return load_error(small_lfm2(), [&](GgufWriter& w) {
      w.set_f32("lfm2.attention.layer_norm_rms_epsilon", value);
    });
  };
  check_fails(eps(-1), Code::corrupt, "epsilon");
  check_fails(eps(NAN), Code::corrupt, "epsilon");
  check_fails(
      load_error(small_lfm2(), [](GgufWriter& w) { w.set_string("lfm2.rope.freq_base", "fast"); }),
      Code::corrupt, "freq_base");
  check_fails(
      load_error(small_lfm2(), [](GgufWriter& w) { w.set_bool("lfm2.attention.causal", false); }),
      Code::unsupported, "bidirectional");
  const GgufFile strange =
      make_file(small_lfm2(), [](GgufWriter& w) { w.set_string("general.architecture", "gpt5"); });
  check_fails(Model::load(strange).status(), Code::unsupported, "lfm2moe");
  const GgufFile nameless = make_file(small_lfm2(), [](GgufWriter&) {});
  check_fails(Model::load(nameless).status(), Code::corrupt, "general.architecture");
}

TEST_CASE("Synthetic: published shapes load and have the published sizes") {
  const Result<std::vector<std::byte>> image = make_synthetic_model("lfm2-350m", "q4_0");
  REQUIRE(image.ok());
  const Result<GgufFile> file = GgufFile::parse(*image);
  REQUIRE(file.ok());
  const Result<Model> model = Model::load(*file);
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  std::int64_t parameters = 0;
  for (const GgufTensor& tensor : file->tensors()) parameters += tensor.shape.elems();
  CHECK(parameters == 354483968);  // SOURCE: model card of LFM2-350M
  CHECK(model->config.n_attention_layers() == 6);
  CHECK(!make_synthetic_model("lfm2-9b", "q4_0").ok());
  CHECK(!make_synthetic_model("lfm2-350m", "q9").ok());
}

}  // namespace runnel::tests
