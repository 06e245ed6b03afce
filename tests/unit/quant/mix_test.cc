#include "quant/mix.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace runnel::quant {
namespace {

// An LFM2 model as far as recipes care.
struct Model {
  std::int64_t d;
  std::int64_t f;
  int n_layers;
  std::vector<int> attention;  // layers with attention, the others convolve
  std::int64_t kv_rows;        // rows of attn_k and attn_v
  int dense_layers = -1;       // MoE: layers before the first with experts
  std::int64_t expert_f = 0;
  std::int64_t n_experts = 0;
};

struct Tensor {
  TensorRole role;
  std::string name;
  std::int64_t elems;
  DType type = DType::f32;
};

class Builder {
 public:
  Builder(const Model& model, const Recipe& recipe) : model_(model), recipe_(recipe) {
    add("token_embd.weight", -1, -1, 2, model.d, 65536 * model.d);
    add("token_embd_norm.weight", -1, -1, 1, model.d, model.d);
    int ordinal = 0;
    for (int layer = 0; layer < model.n_layers; ++layer) {
      const bool attends = std::count(model.attention.begin(), model.attention.end(), layer) > 0;
      if (attends)
        add_attention(layer, ordinal++);
      else
        add_convolution(layer);
      add_feed_forward(layer);
    }
  }
  std::vector<Tensor> tensors() const { return tensors_; }

 private:
  void add(const std::string& name,
           int layer,
           int ordinal,
           int rank,
           std::int64_t row,
           std::int64_t elems) {
    TensorRole role;
    const std::string full = layer < 0 ? name : "blk." + std::to_string(layer) + "." + name;
    role.rank = rank;
    role.row_elems = row;
    role.layer = layer;
    role.n_layers = model_.n_layers;
    role.attention_ordinal = ordinal;
    role.n_attention_layers = static_cast<int>(model_.attention.size());
    role.embedding_is_output = true;
    role.name = full;
    const DType type = tensor_type(recipe_, role);
    tensors_.push_back({role, full, elems, type});
  }
  void add_attention(int layer, int ordinal) {
    const std::int64_t d = model_.d;
    const std::int64_t kv = model_.kv_rows;
    add("attn_q.weight", layer, ordinal, 2, d, d * d);
    add("attn_k.weight", layer, ordinal, 2, d, d * kv);
    add("attn_v.weight", layer, ordinal, 2, d, d * kv);
    add("attn_output.weight", layer, ordinal, 2, d, d * d);
    add("attn_q_norm.weight", layer, ordinal, 1, 64, 64);
    add("attn_k_norm.weight", layer, ordinal, 1, 64, 64);
  }
  void add_convolution(int layer) {
    const std::int64_t d = model_.d;
    add("shortconv.in_proj.weight", layer, -1, 2, d, 3 * d * d);
    add("shortconv.conv.weight", layer, -1, 2, 3, 3 * d);
    add("shortconv.out_proj.weight", layer, -1, 2, d, d * d);
  }
  void add_feed_forward(int layer) {
    const std::int64_t d = model_.d;
    add("attn_norm.weight", layer, -1, 1, d, d);
    add("ffn_norm.weight", layer, -1, 1, d, d);
    if (model_.n_experts == 0 || layer < model_.dense_layers) {
      add("ffn_gate.weight", layer, -1, 2, d, d * model_.f);
      add("ffn_up.weight", layer, -1, 2, d, d * model_.f);
      add("ffn_down.weight", layer, -1, 2, model_.f, d * model_.f);
      return;
    }
    const std::int64_t elems = model_.n_experts * d * model_.expert_f;
    add("ffn_gate_inp.weight", layer, -1, 2, d, d * model_.n_experts);
    add("exp_probs_b.bias", layer, -1, 1, model_.n_experts, model_.n_experts);
    add("ffn_gate_exps.weight", layer, -1, 3, d, elems);
    add("ffn_up_exps.weight", layer, -1, 3, d, elems);
    add("ffn_down_exps.weight", layer, -1, 3, model_.expert_f, elems);
  }

  const Model& model_;
  const Recipe& recipe_;
  std::vector<Tensor> tensors_;
};

const Model k230M = {1024, 2560, 14, {2, 4, 6, 8, 10, 12}, 512};
const Model k350M = {1024, 4608, 16, {2, 5, 8, 10, 12, 14}, 512};
const Model k700M = {1536, 6912, 16, {2, 5, 8, 10, 12, 14}, 512};
const Model k1_2B = {2048, 8192, 16, {2, 5, 8, 10, 12, 14}, 512};
const Model k2_6B = {2048, 10752, 30, {2, 5, 9, 13, 17, 21, 24, 27}, 512};
const Model k8B = {2048, 7168, 24, {2, 6, 10, 14, 18, 21}, 512, 2, 1792, 32};

std::vector<Tensor> mixed(const Model& model, std::string_view recipe) {
  const Recipe* found = find_recipe(recipe);
  REQUIRE(found != nullptr);
  return Builder(model, *found).tensors();
}

std::set<int> layers_with(const std::vector<Tensor>& tensors, std::string_view end, DType type) {
  std::set<int> layers;
  for (const Tensor& tensor : tensors)
    if (std::string_view(tensor.name).ends_with(end) && tensor.type == type)
      layers.insert(tensor.role.layer);
  return layers;
}

double megabytes(const std::vector<Tensor>& tensors) {
  double bytes = 0;
  for (const Tensor& tensor : tensors)
    bytes += static_cast<double>(row_bytes(tensor.type, static_cast<std::size_t>(tensor.elems)));
  return bytes / 1e6;
}

TEST_CASE("recipes, HaveTheFileTypesOfGguf") {
  const std::map<std::string, std::uint32_t> expected = {
      {"f32", 0},     {"f16", 1},     {"bf16", 32},   {"q8_0", 7},    {"q6_k", 18},
      {"q5_k_m", 17}, {"q5_k_s", 16}, {"q5_1", 9},    {"q5_0", 8},    {"q4_k_m", 15},
      {"q4_k_s", 14}, {"q4_1", 3},    {"q4_0", 2},    {"iq4_nl", 25}, {"iq4_xs", 30},
      {"mxfp4", 38},  {"q3_k_m", 12}, {"q3_k_s", 11}, {"q2_k", 10},   {"tq2_0", 37},
      {"tq1_0", 36},
  };
  CHECK(recipes().size() == expected.size());
  for (const Recipe& recipe : recipes()) {
    CAPTURE(recipe.name);
    CHECK(recipe.gguf_file_type == expected.at(std::string(recipe.name)));
    CHECK(find_recipe(recipe.name) == &recipe);
  }
}

TEST_CASE("find_recipe, IgnoresCaseAndKnowsShortNames") {
  CHECK(find_recipe("Q4_K_M") == find_recipe("q4_k_m"));
  CHECK(find_recipe("q4_k") == find_recipe("q4_k_m"));
  CHECK(find_recipe("Q5_K")->name == "q5_k_m");
  CHECK(find_recipe("q3_k")->name == "q3_k_m");
  CHECK(find_recipe("BF16")->base == DType::bf16);
  CHECK(find_recipe("") == nullptr);
  CHECK(find_recipe("q4_k_") == nullptr);
  CHECK(find_recipe("q4_k_m ") == nullptr);
}

TEST_CASE("q4_k_m, GivesMoreBitsToTheLayersOfPublishedFiles") {
  const auto small = mixed(k1_2B, "q4_k_m");
  CHECK(layers_with(small, ".ffn_down.weight", DType::q6_k) ==
        std::set{0, 1, 4, 7, 10, 13, 14, 15});
  CHECK(layers_with(small, ".attn_v.weight", DType::q6_k) == std::set{8, 14});
  CHECK(layers_with(small, ".attn_v.weight", DType::q4_k) == std::set{2, 5, 10, 12});
  CHECK(layers_with(small, ".ffn_up.weight", DType::q4_k).size() == 16);

  const auto large = mixed(k2_6B, "q4_k_m");
  CHECK(layers_with(large, ".ffn_down.weight", DType::q6_k) ==
        std::set{0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 26, 27, 28, 29});
  // ordinals 0, 3, 6, 7
  CHECK(layers_with(large, ".attn_v.weight", DType::q6_k) == std::set{2, 13, 24, 27});

  CHECK(layers_with(mixed(k230M, "q4_k_m"), ".ffn_down.weight", DType::q6_k) ==
        std::set{0, 3, 6, 9, 12, 13});

  const auto experts = mixed(k8B, "q4_k_m");
  std::set<int> down = layers_with(experts, ".ffn_down.weight", DType::q6_k);
  CHECK(down == std::set{0, 1});
  CHECK(layers_with(experts, ".ffn_down_exps.weight", DType::q6_k) ==
        std::set{2, 5, 8, 11, 14, 17, 20, 21, 22, 23});
  CHECK(layers_with(experts, ".ffn_gate_exps.weight", DType::q4_k).size() == 22);
}

TEST_CASE("q5_k_m, UsesTheSamePositions") {
  const auto tensors = mixed(k1_2B, "q5_k_m");
  CHECK(layers_with(tensors, ".ffn_down.weight", DType::q6_k) ==
        std::set{0, 1, 4, 7, 10, 13, 14, 15});
  CHECK(layers_with(tensors, ".attn_v.weight", DType::q6_k) == std::set{8, 14});
  CHECK(layers_with(tensors, ".attn_q.weight", DType::q5_k).size() == 6);
}

TEST_CASE("q4_k_m, CountsTensorsAsThePublished2_6BFileDoes") {
  std::map<DType, int> counts;
  for (const Tensor& tensor : mixed(k2_6B, "q4_k_m")) ++counts[tensor.type];
  CHECK(counts[DType::f32] == 99);
  CHECK(counts[DType::q4_k] == 148);
  CHECK(counts[DType::q6_k] == 19);
  CHECK(counts.size() == 3);
}

TEST_CASE("recipes, PredictTheSizesOfPublishedFiles") {
  struct Expected {
    const Model& model;
    double q4_0;    // megabytes of weights, to one decimal
    double q4_k_m;  // megabytes of weights
  };
  const Expected expected[] = {
      {k230M, 146.7, 151.0}, {k350M, 216.9, 226.9},   {k700M, 443.9, 466.2},
      {k1_2B, 693.4, 728.5}, {k2_6B, 1480.7, 1561.3},
  };
  for (const Expected& row : expected) {
    CHECK(std::fabs(megabytes(mixed(row.model, "q4_0")) - row.q4_0) <= 0.051);
    CHECK(std::fabs(megabytes(mixed(row.model, "q4_k_m")) - row.q4_k_m) <= 0.051);
  }
}

TEST_CASE("recipes, KeepSmallAndDelicateTensorsInF32") {
  for (const Recipe& recipe : recipes())
    for (const Model& model : {k350M, k8B})
      for (const Tensor& tensor : Builder(model, recipe).tensors()) {
        CAPTURE(recipe.name);
        CAPTURE(tensor.name);
        const std::string_view name = tensor.name;
        const bool delicate = tensor.role.rank == 1 || name.ends_with("conv.weight") ||
                              name.ends_with("ffn_gate_inp.weight");
        if (delicate)
          CHECK(tensor.type == DType::f32);
        else
          CHECK((tensor.type == DType::f32) == (recipe.name == "f32"));
      }
}

TEST_CASE("recipes, ChooseTheEmbedding") {
  TensorRole role;
  role.name = "token_embd.weight";
  role.rank = 2;
  role.row_elems = 1024;
  const auto type = [&](std::string_view recipe, bool is_output) {
    role.embedding_is_output = is_output;
    return tensor_type(*find_recipe(recipe), role);
  };
  for (const char* recipe : {"q4_0", "q4_k_m", "q5_k_s", "q6_k", "q2_k", "iq4_xs", "tq1_0"})
    CHECK(type(recipe, true) == DType::q6_k);
  CHECK(type("q8_0", true) == DType::q8_0);
  CHECK(type("mxfp4", true) == DType::q8_0);
  CHECK(type("f16", true) == DType::f16);
  CHECK(type("bf16", true) == DType::bf16);
  CHECK(type("q4_k_m", false) == DType::q4_k);
  CHECK(type("tq2_0", false) == DType::q4_k);
  role.name = "output.weight";
  CHECK(type("q4_k_m", false) == DType::q6_k);
  CHECK(type("f32", false) == DType::f32);
}

TEST_CASE("recipes, FallBackWhereRowsAreNoWholeBlocks") {
  TensorRole role;
  role.name = "blk.3.attn_q.weight";
  role.rank = 2;
  role.layer = 3;
  role.n_layers = 16;
  const auto type = [&](std::string_view recipe, std::int64_t row) {
    role.row_elems = row;
    return tensor_type(*find_recipe(recipe), role);
  };
  CHECK(type("q4_k_m", 256) == DType::q4_k);
  CHECK(type("q4_k_m", 96) == DType::q5_0);
  CHECK(type("q5_k_m", 96) == DType::q5_1);
  CHECK(type("q6_k", 96) == DType::q8_0);
  CHECK(type("q2_k", 96) == DType::q4_0);
  CHECK(type("q3_k_m", 96) == DType::q4_0);
  CHECK(type("iq4_xs", 96) == DType::iq4_nl);
  CHECK(type("tq1_0", 96) == DType::q4_0);
  CHECK(type("tq2_0", 96) == DType::q4_0);
  CHECK(type("q4_0", 96) == DType::q4_0);
  CHECK(type("mxfp4", 96) == DType::mxfp4);
  for (const Recipe& recipe : recipes()) {
    const DType narrow = type(recipe.name, 33);
    CHECK(narrow == (info(recipe.base).scheme == Scheme::plain ? recipe.base : DType::f16));
  }
}

TEST_CASE("recipes, LeaveBiasesUnknownsAndIntegersAlone") {
  TensorRole role;
  role.rank = 2;
  role.row_elems = 1024;
  const Recipe& recipe = *find_recipe("q4_0");
  role.name = "blk.0.shortconv.in_proj.bias";
  CHECK(tensor_type(recipe, role) == DType::f32);
  role.name = "rope_freqs";
  CHECK(tensor_type(recipe, role) == DType::f32);
  role.name = "blk.0.attn_q_norm.weight";
  CHECK(tensor_type(recipe, role) == DType::f32);
  role.name = "blk.0.attn_q.weight";
  CHECK(tensor_type(recipe, role) == DType::q4_0);
  role.rank = 1;
  CHECK(tensor_type(recipe, role) == DType::f32);
  role.rank = 2;
  role.source = DType::i32;
  CHECK(tensor_type(recipe, role) == DType::i32);
}

}  // namespace
}  // namespace runnel::quant
