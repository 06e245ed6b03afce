#include "quant/spread.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

namespace runnel::quant {
namespace {

/// The matrices of a small hybrid model: layers 1 and 3 attend, the others convolve.
class Model {
 public:
  explicit Model(std::string_view recipe, std::int64_t d = 512) : recipe_(*find_recipe(recipe)) {
    add("token_embd.weight", -1, 2048, d);
    for (int layer = 0; layer < 4; ++layer) {
      const std::string block = "blk." + std::to_string(layer) + ".";
      if (layer % 2 == 1) {
        add(block + "attn_q.weight", layer, d, d);
        add(block + "attn_k.weight", layer, d / 4, d);
        add(block + "attn_v.weight", layer, d / 4, d);
        add(block + "attn_output.weight", layer, d, d);
      } else {
        add(block + "shortconv.in_proj.weight", layer, 3 * d, d);
        add(block + "shortconv.conv.weight", layer, d, 3);
        add(block + "shortconv.out_proj.weight", layer, d, d);
      }
      add(block + "ffn_gate.weight", layer, 3 * d, d);
      add(block + "ffn_up.weight", layer, 3 * d, d);
      add(block + "ffn_down.weight", layer, d, 3 * d);
    }
    standard_ = tensors_;
    spread_bits(recipe_, tensors_);
  }
  const Recipe& recipe() const { return recipe_; }
  DType type(std::string_view name) const {
    return std::ranges::find(tensors_, name, [](const auto& t) { return t.role.name; })->type;
  }
  std::size_t bytes() const { return bytes(tensors_); }
  std::size_t standard_bytes() const { return bytes(standard_); }
  bool same_as_standard() const {
    return std::ranges::equal(tensors_, standard_, {}, &MixedTensor::type, &MixedTensor::type);
  }
  const std::vector<MixedTensor>& tensors() const { return tensors_; }

 private:
  static std::size_t bytes(const std::vector<MixedTensor>& tensors) {
    std::size_t sum = 0;
    for (const MixedTensor& t : tensors)
      sum += row_bytes(t.type, static_cast<std::size_t>(t.role.row_elems * t.n_rows));
    return sum;
  }
  void add(const std::string& name, int layer, std::int64_t n_rows, std::int64_t row_elems) {
    TensorRole role;
    role.name = names_.emplace_back(name);
    role.rank = 2;
    role.row_elems = row_elems;
    role.layer = layer;
    role.n_layers = 4;
    role.attention_ordinal = layer / 2;
    role.n_attention_layers = 2;
    role.embedding_is_output = true;
    tensors_.push_back({role, n_rows, tensor_type(recipe_, role)});
  }

  const Recipe& recipe_;
  std::deque<std::string> names_;
  std::vector<MixedTensor> tensors_, standard_;
};

TEST_CASE("spread_bits, NeverMakesAModelLarger") {
  for (const Recipe& recipe : recipes())
    for (const std::int64_t d : {256, 512, 2048}) {
      CAPTURE(recipe.name);
      CAPTURE(d);
      const Model model(recipe.name, d);
      CHECK(model.bytes() <= model.standard_bytes());
      CHECK(model.bytes() > 0.98 * static_cast<double>(model.standard_bytes()));
    }
}

TEST_CASE("spread_bits, SpendsWhereErrorsHurtMost") {
  const Model model("q4_k_m");
  const auto error = [&](std::string_view name) { return info(model.type(name)).error_bound; };
  CHECK(error("blk.1.attn_v.weight") <= error("blk.1.attn_k.weight"));
  CHECK(error("blk.1.attn_k.weight") <= error("blk.1.attn_output.weight"));
  CHECK(error("blk.1.attn_output.weight") < error("blk.1.ffn_up.weight"));
  CHECK(model.type("blk.1.attn_v.weight") != DType::q4_k);
  CHECK(model.type("blk.0.shortconv.conv.weight") == DType::f32);
}

TEST_CASE("spread_bits, KeepsTheTypeThatWasAskedFor") {
  for (const char* name :
       {"q4_0", "q4_1", "q5_0", "iq4_nl", "iq4_xs", "q3_k_m", "q2_k", "q5_k_m"}) {
    CAPTURE(name);
    const Model model(name);
    const auto n = std::ranges::count(model.tensors(), model.recipe().base, &MixedTensor::type);
    CHECK(n >= 2);
    for (const MixedTensor& tensor : model.tensors())  // no other type of the same size
      if (tensor.type != model.recipe().base && tensor.type != DType::f32)
        CHECK(row_bytes(tensor.type, 256) != row_bytes(model.recipe().base, 256));
  }
}

TEST_CASE("spread_bits, LeavesRecipesWithoutChoiceAlone") {
  for (const char* name : {"f32", "f16", "bf16", "q8_0", "mxfp4", "tq1_0", "tq2_0"}) {
    CAPTURE(name);
    CHECK(Model(name).same_as_standard());
  }
  CHECK(Model("q4_k_m", 96).same_as_standard());  // rows that are no multiple of 256
}

}  // namespace
}  // namespace runnel::quant
