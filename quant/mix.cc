// Recipes and the rules that choose one tensor's format.
#include "quant/mix.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace runnel::quant {
namespace {

// clang-format off: one line per recipe
// SOURCE of the file types: general.file_type in the GGUF specification. Output heads keep 6 bits
// because LFM2 models share that matrix with the token embedding.
//   name, file type, base, output, more attn_v, more ffn_down
constexpr std::array kRecipes = std::to_array<Recipe>({
    {"f32", 0, DType::f32, DType::f32, DType::f32, DType::f32},
    {"f16", 1, DType::f16, DType::f16, DType::f16, DType::f16},
    {"bf16", 32, DType::bf16, DType::bf16, DType::bf16, DType::bf16},
    {"q8_0", 7, DType::q8_0, DType::q8_0, DType::q8_0, DType::q8_0},
    {"q6_k", 18, DType::q6_k, DType::q6_k, DType::q6_k, DType::q6_k},
    {"q5_k_m", 17, DType::q5_k, DType::q6_k, DType::q6_k, DType::q6_k},
    {"q5_k_s", 16, DType::q5_k, DType::q6_k, DType::q5_k, DType::q5_k},
    {"q5_1", 9, DType::q5_1, DType::q6_k, DType::q5_1, DType::q5_1},
    {"q5_0", 8, DType::q5_0, DType::q6_k, DType::q5_0, DType::q5_0},
    {"q4_k_m", 15, DType::q4_k, DType::q6_k, DType::q6_k, DType::q6_k},
    {"q4_k_s", 14, DType::q4_k, DType::q6_k, DType::q4_k, DType::q4_k},
    {"q4_1", 3, DType::q4_1, DType::q6_k, DType::q4_1, DType::q4_1},
    {"q4_0", 2, DType::q4_0, DType::q6_k, DType::q4_0, DType::q4_0},
    {"iq4_nl", 25, DType::iq4_nl, DType::q6_k, DType::iq4_nl, DType::iq4_nl},
    {"iq4_xs", 30, DType::iq4_xs, DType::q6_k, DType::iq4_xs, DType::iq4_xs},
    {"mxfp4", 38, DType::mxfp4, DType::q8_0, DType::mxfp4, DType::mxfp4},
    {"q3_k_m", 12, DType::q3_k, DType::q6_k, DType::q5_k, DType::q4_k},
    {"q3_k_s", 11, DType::q3_k, DType::q6_k, DType::q3_k, DType::q3_k},
    {"q2_k", 10, DType::q2_k, DType::q6_k, DType::q4_k, DType::q3_k},
    {"tq2_0", 37, DType::tq2_0, DType::q6_k, DType::tq2_0, DType::tq2_0},
    {"tq1_0", 36, DType::tq1_0, DType::q6_k, DType::tq1_0, DType::tq1_0},
});
// clang-format on

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

bool stays_float(const TensorRole& tensor) {
  const std::string_view name = tensor.name;
  return tensor.rank <= 1 || !name.ends_with(".weight") || name.ends_with("_norm.weight") ||
         name.ends_with("shortconv.conv.weight") || name.ends_with("ffn_gate_inp.weight");
}

DType wanted_type(const Recipe& recipe, const TensorRole& tensor) {
  const std::string_view name = tensor.name;
  if (name == "output.weight") return recipe.output;
  if (name == "token_embd.weight") {
    if (tensor.embedding_is_output) return recipe.output;
    // Three levels are too few to tell tokens apart.
    return info(recipe.base).scheme == Scheme::ternary ? DType::q4_k : recipe.base;
  }
  if (name.ends_with(".attn_v.weight") &&
      use_more(tensor.attention_ordinal, tensor.n_attention_layers))
    return recipe.more_attention_v;
  if ((name.ends_with(".ffn_down.weight") || name.ends_with(".ffn_down_exps.weight")) &&
      use_more(tensor.layer, tensor.n_layers))
    return recipe.more_ffn_down;
  return recipe.base;
}

// The format for a row that is no whole number of blocks of `type`.
DType narrower_block(DType type) {
  if (info(type).block_elems <= 32) return DType::f16;
  switch (type) {
    case DType::q6_k:
      return DType::q8_0;
    case DType::q5_k:
      return DType::q5_1;
    case DType::q4_k:
      return DType::q5_0;
    case DType::iq4_xs:
      return DType::iq4_nl;
    default:
      return DType::q4_0;
  }
}

}  // namespace

std::span<const Recipe> recipes() {
  return kRecipes;
}

const Recipe* find_recipe(std::string_view name) {
  if (same_name(name, "q3_k")) name = "q3_k_m";
  if (same_name(name, "q4_k")) name = "q4_k_m";
  if (same_name(name, "q5_k")) name = "q5_k_m";
  for (const Recipe& recipe : kRecipes)
    if (same_name(recipe.name, name)) return &recipe;
  return nullptr;
}

DType tensor_type(const Recipe& recipe, const TensorRole& tensor) {
  if (tensor.source == DType::i32) return DType::i32;
  if (stays_float(tensor)) return DType::f32;
  DType type = wanted_type(recipe, tensor);
  while (tensor.row_elems % info(type).block_elems != 0) type = narrower_block(type);
  return type;
}

}  // namespace runnel::quant
