// Recipes: which number format each tensor of a model gets for a named quantisation.
// SOURCE: the mixes found in published LFM2 GGUF files.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "quant/dtype.h"

namespace runnel::quant {

/// A named quantisation of a whole model, e.g. "q4_k_m".
struct Recipe {
  std::string_view name;
  std::uint32_t gguf_file_type;  // general.file_type
  DType base;                    // most matrices
  DType output;                  // output head, and token embedding when it doubles as the head
  DType more_attention_v;        // attn_v of the attention layers that use_more() chooses
  DType more_ffn_down;           // ffn_down, experts too, of the layers that use_more() chooses
};

/// Every recipe, in the order shown to users.
std::span<const Recipe> recipes();

/// True for the first and the last eighth of n layers and every third one between: the layers whose
/// attn_v and ffn_down get more bits. `index` counts all layers for ffn_down and the attention
/// layers for attn_v.
constexpr bool use_more(int index, int n) {
  return index < n / 8 || index >= 7 * n / 8 || (index - n / 8) % 3 == 2;
}

/// The recipe with this name (case-insensitive), or null. "q3_k", "q4_k" and "q5_k" mean their _m.
const Recipe* find_recipe(std::string_view name);

/// What mix needs to know of one tensor.
struct TensorRole {
  std::string_view name;       // GGUF name, e.g. "blk.3.ffn_down.weight"
  int rank = 0;                // dimensions
  std::int64_t row_elems = 0;  // contiguous dimension
  int layer = -1;              // block index, -1 outside blocks
  int n_layers = 0;
  int attention_ordinal = -1;  // index among attention layers, -1 elsewhere
  int n_attention_layers = 0;
  bool embedding_is_output = false;  // token_embd doubles as the output head
  DType source = DType::f32;         // type in the source file
};

/// The format `tensor` gets under `recipe`. Norms, biases, 1-D tensors, short-conv filters and MoE
/// routers stay float (f32); i32 stays i32. Where row_elems is no multiple of the block, a 32-wide
/// format takes over, and f16 where it is no multiple of 32.
DType tensor_type(const Recipe& recipe, const TensorRole& tensor);

}  // namespace runnel::quant
