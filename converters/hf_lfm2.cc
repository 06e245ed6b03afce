// LFM2 checkpoints, and the parts LFM2-MoE shares with them. Names and rules: LFM2 modelling code
// of transformers (modular_lfm2.py, configuration_lfm2.py).
#include "converters/hf_lfm2.h"

#include <algorithm>

#include "converters/hf_dense.h"
#include "converters/registry.h"
#include "runtime/base/quote.h"

namespace runnel::converters {
namespace {

constexpr std::int64_t kMaxLayers = 4096;

// From layer_types, else full_attn_idxs, else from the tensors that are there.
Result<std::vector<bool>> read_layer_kinds(const Fields& config,
                                           std::int64_t n_layers,
                                           const TensorPlanner& planner) {
  std::vector<bool> is_attention(static_cast<std::size_t>(n_layers), false);
  RUNNEL_ASSIGN(const auto types, config.get_strings("layer_types"));
  RUNNEL_ASSIGN(const auto indices, config.get_ints("full_attn_idxs"));
  if (types) {
    if (types->size() != is_attention.size())
      return config.bad("layer_types", "does not have one entry per layer");
    for (std::size_t i = 0; i < types->size(); ++i) {
      const std::string& type = (*types)[i];
      if (type != "conv" && type != "full_attention")
        return Status(Code::unsupported, config.what() + ": layer type " + runnel::quote(type));
      is_attention[i] = type == "full_attention";
    }
  } else if (indices) {
    for (const std::int64_t index : *indices) {
      if (index < 0 || index >= n_layers)
        return config.bad("full_attn_idxs", "names a layer that does not exist");
      is_attention[static_cast<std::size_t>(index)] = true;
    }
  } else {
    for (std::int64_t i = 0; i < n_layers; ++i)
      is_attention[static_cast<std::size_t>(i)] = !planner.has(hf_layer(i) + "conv.conv.weight");
  }
  return is_attention;
}

Result<double> read_eps(const Fields& config) {
  for (const std::string_view key : {"norm_eps", "block_norm_eps", "rms_norm_eps"})
    if (config.find(key) != nullptr) return config.positive_or(key, 1e-5);
  return 1e-5;
}

// The filter's length, from the first convolution layer.
Result<std::int64_t> read_conv_taps(const Fields& config,
                                    const std::vector<bool>& is_attention,
                                    std::int64_t width,
                                    TensorPlanner& planner) {
  const auto first = std::ranges::find(is_attention, false);
  if (first == is_attention.end()) return config.count_or("conv_L_cache", 3);
  const std::int64_t layer = first - is_attention.begin();
  const std::string name = hf_layer(layer) + "conv.conv.weight";
  const SourceTensor* filter = planner.find(name);
  if (filter == nullptr) {
    planner.need(name, 3);
    return planner.status();
  }
  std::int64_t elems = 1;
  for (const std::int64_t n : filter->shape) elems *= n;  // checked by the reader
  if (elems <= 0 || elems % width != 0 || elems / width > 1024)
    return Status(Code::corrupt,
                  "tensor " + runnel::quote(filter->name) + " is no [D, 1, L] filter");
  return elems / width;
}

}  // namespace

std::string hf_layer(std::int64_t layer) {
  return "layers." + std::to_string(layer) + ".";
}
std::string gguf_layer(std::int64_t layer) {
  return "blk." + std::to_string(layer) + ".";
}

Result<Lfm2Config> read_lfm2(const Fields& config, TensorPlanner& planner) {
  Lfm2Config c;
  const SourceTensor* embedding = planner.need("embed_tokens.weight", 2);
  RUNNEL_TRY(planner.status());
  c.n_vocab = embedding->shape[0];
  c.width = embedding->shape[1];
  RUNNEL_ASSIGN(const std::int64_t width, config.count_or("hidden_size", c.width));
  if (width != c.width) return config.bad("hidden_size", "differs from the embedding's width");
  RUNNEL_ASSIGN(c.n_layers, config.count_of({"num_hidden_layers", "num_layers"}));
  if (c.n_layers > kMaxLayers) return config.bad("num_hidden_layers", "is out of range");
  RUNNEL_ASSIGN(c.n_heads, config.count_of({"num_attention_heads", "num_heads"}));
  RUNNEL_ASSIGN(c.n_kv_heads, config.count_or("num_key_value_heads", c.n_heads));
  const std::int64_t per_head = std::max<std::int64_t>(1, c.width / c.n_heads);
  RUNNEL_ASSIGN(c.head_dim, config.count_or("head_dim", per_head));
  RUNNEL_TRY(check_heads(config, c.n_heads, c.n_kv_heads, c.head_dim));
  RUNNEL_ASSIGN(c.context, config.count_or("max_position_embeddings", 128000));
  RUNNEL_ASSIGN(c.norm_eps, read_eps(config));
  RUNNEL_ASSIGN(c.rope, read_rope(config, 1e6));
  if (c.rope.kind != RopeKind::plain)
    return Status(Code::unsupported, config.what() + ": rope scaling for lfm2");
  if (config.find("sliding_window") != nullptr)
    return Status(Code::unsupported, config.what() + ": 'sliding_window' for lfm2");
  RUNNEL_ASSIGN(c.is_attention, read_layer_kinds(config, c.n_layers, planner));
  RUNNEL_ASSIGN(c.conv_taps, read_conv_taps(config, c.is_attention, c.width, planner));
  const auto first_conv = std::ranges::find(c.is_attention, false) - c.is_attention.begin();
  const bool stored = planner.has(hf_layer(first_conv) + "conv.conv.bias");
  RUNNEL_ASSIGN(c.conv_bias, config.bool_or("conv_bias", stored));
  RUNNEL_ASSIGN(c.head, read_head(config));
  return c;
}

void add_lfm2_embedding(const Lfm2Config& c, TensorPlanner& planner) {
  planner.add("token_embd.weight", "embed_tokens.weight", {c.n_vocab, c.width});
}

void add_lfm2_operator(const Lfm2Config& c, std::int64_t layer, TensorPlanner& planner) {
  const std::string from = hf_layer(layer);
  const std::string to = gguf_layer(layer);
  planner.add(to + "attn_norm.weight", from + "operator_norm.weight", {c.width});
  if (c.is_attention[static_cast<std::size_t>(layer)]) {
    const std::int64_t q_rows = c.n_heads * c.head_dim;
    const std::int64_t kv_rows = c.n_kv_heads * c.head_dim;
    const std::string attention = from + "self_attn.";
    planner.add(to + "attn_q.weight", attention + "q_proj.weight", {q_rows, c.width});
    planner.add(to + "attn_k.weight", attention + "k_proj.weight", {kv_rows, c.width});
    planner.add(to + "attn_v.weight", attention + "v_proj.weight", {kv_rows, c.width});
    planner.add(to + "attn_output.weight", attention + "out_proj.weight", {c.width, q_rows});
    planner.add(to + "attn_q_norm.weight", attention + "q_layernorm.weight", {c.head_dim});
    planner.add(to + "attn_k_norm.weight", attention + "k_layernorm.weight", {c.head_dim});
  } else {
    const std::string conv = to + "shortconv.";
    planner.add(conv + "in_proj.weight", from + "conv.in_proj.weight", {3 * c.width, c.width});
    planner.add(conv + "conv.weight", from + "conv.conv.weight", {c.width, c.conv_taps});
    planner.add(conv + "out_proj.weight", from + "conv.out_proj.weight", {c.width, c.width});
    if (c.conv_bias) {
      planner.add(conv + "in_proj.bias", from + "conv.in_proj.bias", {3 * c.width});
      planner.add(conv + "conv.bias", from + "conv.conv.bias", {c.width});
      planner.add(conv + "out_proj.bias", from + "conv.out_proj.bias", {c.width});
    }
  }
  planner.add(to + "ffn_norm.weight", from + "ffn_norm.weight", {c.width});
}

void add_lfm2_feed_forward(const Lfm2Config& c,
                           std::int64_t layer,
                           std::int64_t n_ff,
                           TensorPlanner& planner) {
  const std::string from = hf_layer(layer) + "feed_forward.";
  const std::string to = gguf_layer(layer);
  planner.add(to + "ffn_gate.weight", from + "w1.weight", {n_ff, c.width});
  planner.add(to + "ffn_up.weight", from + "w3.weight", {n_ff, c.width});
  planner.add(to + "ffn_down.weight", from + "w2.weight", {c.width, n_ff});
}

void add_lfm2_end(const Lfm2Config& c, TensorPlanner& planner) {
  planner.add("token_embd_norm.weight", "embedding_norm.weight", {c.width});  // the final norm
  planner.add_head(c.head, c.n_vocab, c.width);
}

void set_lfm2_keys(const Lfm2Config& c, std::string_view prefix, GgufWriter& meta) {
  const std::string dot = std::string(prefix) + ".";
  std::vector<std::int32_t> kv_heads;  // 0 marks a convolution layer
  for (const bool attention : c.is_attention)
    kv_heads.push_back(attention ? static_cast<std::int32_t>(c.n_kv_heads) : 0);
  set_count(meta, prefix, "block_count", c.n_layers);
  set_count(meta, prefix, "context_length", c.context);
  set_count(meta, prefix, "embedding_length", c.width);
  set_count(meta, prefix, "vocab_size", c.n_vocab);
  set_count(meta, prefix, "attention.head_count", c.n_heads);
  meta.set_i32s(dot + "attention.head_count_kv", kv_heads);
  set_count(meta, prefix, "attention.key_length", c.head_dim);
  set_count(meta, prefix, "attention.value_length", c.head_dim);
  meta.set_f32(dot + "attention.layer_norm_rms_epsilon", static_cast<float>(c.norm_eps));
  set_count(meta, prefix, "rope.dimension_count", c.head_dim);
  meta.set_f32(dot + "rope.freq_base", static_cast<float>(c.rope.theta));
  set_count(meta, prefix, "shortconv.l_cache", c.conv_taps);
}

Result<ModelPlan> plan_lfm2(const Fields& config, const Checkpoint& checkpoint, GgufWriter& meta) {
  RUNNEL_ASSIGN(TensorPlanner planner, TensorPlanner::start(checkpoint));
  RUNNEL_ASSIGN(const Lfm2Config c, read_lfm2(config, planner));
  // The config has three spellings of this width and a rounding rule; the tensor knows.
  const SourceTensor* gate = planner.need("layers.0.feed_forward.w1.weight", 2);
  RUNNEL_TRY(planner.status());
  const std::int64_t n_ff = gate->shape[0];
  add_lfm2_embedding(c, planner);
  for (std::int64_t i = 0; i < c.n_layers && planner.status().ok(); ++i) {
    add_lfm2_operator(c, i, planner);
    add_lfm2_feed_forward(c, i, n_ff, planner);
  }
  add_lfm2_end(c, planner);
  RUNNEL_TRY(planner.finish());
  set_lfm2_keys(c, "lfm2", meta);
  set_count(meta, "lfm2", "feed_forward_length", n_ff);
  return ModelPlan{planner.take_tensors(), planner.notes(), c.n_vocab};
}

}  // namespace runnel::converters
