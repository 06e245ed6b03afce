// What the dense decoder-only architectures of the Llama family share: the usual config keys,
// metadata and tensors. Pure functions.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "converters/json.h"
#include "converters/plan.h"
#include "converters/rope.h"
#include "runtime/base/status.h"
#include "runtime/io/gguf_writer.h"

namespace runnel::converters {

struct DenseConfig {
  std::int64_t n_layers = 0;
  std::int64_t width = 0;    // embedding length
  std::int64_t n_vocab = 0;  // rows of the embedding
  std::int64_t n_ff = 0;     // from the tensor, not from the config
  std::int64_t n_heads = 0;
  std::int64_t n_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t context = 0;  // tokens
  double norm_eps = 0;
  RopeConfig rope;
};

/// Reads config.json of llama and qwen3. ERRORS: corrupt, unsupported (biases, other activations,
/// sliding windows), naming the key or tensor.
Result<DenseConfig> read_dense(const Fields& config, TensorPlanner& planner, double default_theta);

/// token_embd, output_norm, output (unless tied) and per layer norms, attention and feed-forward.
/// `qk_order`: row order of attn_q and attn_k.
enum class QkNorm : std::uint8_t { absent, present };
void add_dense_tensors(const DenseConfig& config,
                       TensorPlanner& planner,
                       RowOrder qk_order,
                       QkNorm qk_norm);

/// Sets PREFIX.block_count and the other keys of DenseConfig.
void set_dense_keys(const DenseConfig& config, std::string_view prefix, GgufWriter& meta);

/// tied, untied or as_stored from tie_embedding / tie_word_embeddings. ERRORS: corrupt.
Result<TensorPlanner::Head> read_head(const Fields& config);

/// Shared checks of heads. ERRORS: corrupt.
Status check_heads(const Fields& config,
                   std::int64_t n_heads,
                   std::int64_t n_kv_heads,
                   std::int64_t head_dim);

/// A u32 key; the value has been checked to fit.
void set_count(GgufWriter& meta, std::string_view prefix, std::string_view key, std::int64_t value);

}  // namespace runnel::converters
