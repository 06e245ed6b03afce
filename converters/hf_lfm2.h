// What LFM2 dense and LFM2-MoE share: all spellings of the config, the operators (attention or
// short convolution) of a layer and their metadata. Pure functions.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "converters/json.h"
#include "converters/plan.h"
#include "converters/rope.h"
#include "runtime/base/status.h"
#include "runtime/io/gguf_writer.h"

namespace runnel::converters {

struct Lfm2Config {
  std::int64_t n_layers = 0;
  std::int64_t width = 0;    // embedding length D
  std::int64_t n_vocab = 0;  // rows of the embedding
  std::int64_t n_heads = 0;
  std::int64_t n_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t conv_taps = 0;  // L
  std::int64_t context = 0;    // tokens
  double norm_eps = 0;
  RopeConfig rope;
  std::vector<bool> is_attention;  // [n_layers]
  bool conv_bias = false;
  TensorPlanner::Head head = TensorPlanner::Head::as_stored;
};

/// Reads config.json. Where config and tensors could disagree, the tensors count.
/// ERRORS: corrupt, unsupported, naming the key or tensor.
Result<Lfm2Config> read_lfm2(const Fields& config, TensorPlanner& planner);

/// token_embd.weight.
void add_lfm2_embedding(const Lfm2Config& config, TensorPlanner& planner);
/// The norms and the operator of one layer.
void add_lfm2_operator(const Lfm2Config& config, std::int64_t layer, TensorPlanner& planner);
/// A dense feed-forward of n_ff values.
void add_lfm2_feed_forward(const Lfm2Config& config,
                           std::int64_t layer,
                           std::int64_t n_ff,
                           TensorPlanner& planner);
/// The final norm and the head when it is not tied.
void add_lfm2_end(const Lfm2Config& config, TensorPlanner& planner);

/// Sets PREFIX.block_count and the other keys of Lfm2Config.
void set_lfm2_keys(const Lfm2Config& config, std::string_view prefix, GgufWriter& meta);

/// "layers.N." and "blk.N.".
std::string hf_layer(std::int64_t layer);
std::string gguf_layer(std::int64_t layer);

}  // namespace runnel::converters
