#include "converters/hf_dense.h"

#include "runtime/base/quote.h"

namespace runnel::converters {
namespace {

constexpr std::int64_t kMaxLayers = 4096;

// Things a config may ask for that the graphs of these architectures do not have.
Status reject_unsupported(const Fields& config) {
  for (const std::string_view key : {"attention_bias", "mlp_bias", "use_sliding_window"}) {
    RUNNEL_ASSIGN(const bool on, config.bool_or(key, false));
    if (on)
      return Status(Code::unsupported, config.what() + ": '" + std::string(key) + "' is true");
  }
  RUNNEL_ASSIGN(const auto activation, config.get_string("hidden_act"));
  if (activation && *activation != "silu")
    return Status(Code::unsupported,
                  config.what() + ": 'hidden_act' is " + runnel::quote(*activation));
  return {};
}

}  // namespace

void set_count(GgufWriter& meta,
               std::string_view prefix,
               std::string_view key,
               std::int64_t value) {
  meta.set_u32(std::string(prefix) + "." + std::string(key), static_cast<std::uint32_t>(value));
}

Result<TensorPlanner::Head> read_head(const Fields& config) {
  for (const std::string_view key : {"tie_embedding", "tie_word_embeddings"}) {
    RUNNEL_ASSIGN(const std::optional<bool> tied, config.get_bool(key));
    if (tied) return *tied ? TensorPlanner::Head::tied : TensorPlanner::Head::untied;
  }
  return TensorPlanner::Head::as_stored;
}

Status check_heads(const Fields& config,
                   std::int64_t n_heads,
                   std::int64_t n_kv_heads,
                   std::int64_t head_dim) {
  if (n_kv_heads > n_heads || n_heads % n_kv_heads != 0)
    return config.bad("num_key_value_heads", "does not divide the number of heads");
  if (head_dim < 2 || head_dim % 2 != 0 || head_dim > 65536)
    return config.bad("head_dim", "is not an even number of at least 2");
  return {};
}

Result<DenseConfig> read_dense(const Fields& config, TensorPlanner& planner, double default_theta) {
  RUNNEL_TRY(reject_unsupported(config));
  DenseConfig c;
  RUNNEL_ASSIGN(c.n_layers, config.count_of({"num_hidden_layers"}));
  RUNNEL_ASSIGN(c.width, config.count_of({"hidden_size"}));
  RUNNEL_ASSIGN(c.n_heads, config.count_of({"num_attention_heads"}));
  RUNNEL_ASSIGN(c.n_kv_heads, config.count_or("num_key_value_heads", c.n_heads));
  RUNNEL_ASSIGN(c.head_dim,
                config.count_or("head_dim", std::max<std::int64_t>(1, c.width / c.n_heads)));
  RUNNEL_ASSIGN(c.context, config.count_or("max_position_embeddings", 2048));
  RUNNEL_ASSIGN(c.norm_eps, config.positive_or("rms_norm_eps", 1e-6));
  RUNNEL_ASSIGN(c.rope, read_rope(config, default_theta));
  if (c.n_layers > kMaxLayers) return config.bad("num_hidden_layers", "is out of range");
  RUNNEL_TRY(check_heads(config, c.n_heads, c.n_kv_heads, c.head_dim));
  const SourceTensor* embedding = planner.need("embed_tokens.weight", 2);
  const SourceTensor* gate = planner.need("layers.0.mlp.gate_proj.weight", 2);
  RUNNEL_TRY(planner.status());
  c.n_vocab = embedding->shape[0];
  c.n_ff = gate->shape[0];
  return c;
}

void add_dense_tensors(const DenseConfig& c,
                       TensorPlanner& planner,
                       RowOrder qk_order,
                       QkNorm qk_norm) {
  const std::int64_t q_rows = c.n_heads * c.head_dim;
  const std::int64_t kv_rows = c.n_kv_heads * c.head_dim;
  planner.add("token_embd.weight", "embed_tokens.weight", {c.n_vocab, c.width});
  for (std::int64_t i = 0; i < c.n_layers && planner.status().ok(); ++i) {
    const std::string to = "blk." + std::to_string(i) + ".";
    const std::string from = "layers." + std::to_string(i) + ".";
    const std::string attention = from + "self_attn.";
    planner.add(to + "attn_norm.weight", from + "input_layernorm.weight", {c.width});
    planner.add(to + "attn_q.weight", attention + "q_proj.weight", {q_rows, c.width}, qk_order,
                c.head_dim);
    planner.add(to + "attn_k.weight", attention + "k_proj.weight", {kv_rows, c.width}, qk_order,
                c.head_dim);
    planner.add(to + "attn_v.weight", attention + "v_proj.weight", {kv_rows, c.width});
    planner.add(to + "attn_output.weight", attention + "o_proj.weight", {c.width, q_rows});
    if (qk_norm == QkNorm::present) {
      planner.add(to + "attn_q_norm.weight", attention + "q_norm.weight", {c.head_dim});
      planner.add(to + "attn_k_norm.weight", attention + "k_norm.weight", {c.head_dim});
    }
    planner.add(to + "ffn_norm.weight", from + "post_attention_layernorm.weight", {c.width});
    planner.add(to + "ffn_gate.weight", from + "mlp.gate_proj.weight", {c.n_ff, c.width});
    planner.add(to + "ffn_up.weight", from + "mlp.up_proj.weight", {c.n_ff, c.width});
    planner.add(to + "ffn_down.weight", from + "mlp.down_proj.weight", {c.width, c.n_ff});
  }
  planner.add("output_norm.weight", "norm.weight", {c.width});
}

void set_dense_keys(const DenseConfig& c, std::string_view prefix, GgufWriter& meta) {
  const std::string dot = std::string(prefix) + ".";
  set_count(meta, prefix, "block_count", c.n_layers);
  set_count(meta, prefix, "context_length", c.context);
  set_count(meta, prefix, "embedding_length", c.width);
  set_count(meta, prefix, "feed_forward_length", c.n_ff);
  set_count(meta, prefix, "vocab_size", c.n_vocab);
  set_count(meta, prefix, "attention.head_count", c.n_heads);
  set_count(meta, prefix, "attention.head_count_kv", c.n_kv_heads);
  set_count(meta, prefix, "attention.key_length", c.head_dim);
  set_count(meta, prefix, "attention.value_length", c.head_dim);
  meta.set_f32(dot + "attention.layer_norm_rms_epsilon", static_cast<float>(c.norm_eps));
  set_count(meta, prefix, "rope.dimension_count", c.head_dim);
  meta.set_f32(dot + "rope.freq_base", static_cast<float>(c.rope.theta));
  if (c.rope.kind == RopeKind::linear && c.rope.factor != 1) {
    meta.set_string(dot + "rope.scaling.type", "linear");
    meta.set_f32(dot + "rope.scaling.factor", static_cast<float>(c.rope.factor));
  }
}

}  // namespace runnel::converters
