#include "runtime/models/blocks.h"

#include <algorithm>
#include <cmath>

#include "quant/kv_sparse.h"
#include "runtime/models/config_reader.h"

namespace runnel {

std::int64_t kv_ring_tokens(const ModelConfig& config, const quant::KvPolicy& kv) {
  // Rolling back this far needs nothing computed again but what the convolutions replay.
  constexpr std::int64_t kFreeRollback = 16;
  const std::int64_t replay =
      config.n_conv_layers() * std::max<std::int64_t>(0, config.conv_kernel - 1);
  const std::int64_t needed = kv.recent_tokens() + quant::kKvTileTokens + replay + kFreeRollback;
  return (needed + quant::kKvTileTokens - 1) / quant::kKvTileTokens * quant::kKvTileTokens;
}

ValueId BlockBuilder::weight(const std::string& name, const Shape& expected) {
  if (!status_.ok()) return kNoValue;
  if (const auto known = weights_.find(name); known != weights_.end()) return known->second;
  const GgufTensor* tensor = model_.file.tensor(name);
  if (tensor == nullptr) {
    fail(Status(Code::not_found, "tensor " + name + " is missing"));
    return kNoValue;
  }
  bool fits = tensor->shape.rank == expected.rank;
  for (int i = 0; fits && i < expected.rank; ++i)
    fits = expected[i] == -1 || expected[i] == tensor->shape[i];
  if (!fits) {
    fail(Status(Code::corrupt, "tensor " + name + " has shape " + tensor->shape.to_string() +
                                   ", expected " + expected.to_string()));
    return kNoValue;
  }
  const ValueId id = graph_.add_weight(name, tensor->shape, tensor->dtype);
  weights_.emplace(name, id);
  return id;
}

ValueId BlockBuilder::optional_weight(const std::string& name, const Shape& expected) {
  return model_.file.tensor(name) == nullptr ? kNoValue : weight(name, expected);
}

ValueId BlockBuilder::node(Op op, std::vector<ValueId> in, Attr attr, std::string name) {
  if (!status_.ok()) return kNoValue;
  Result<ValueId> out = graph_.add_node(op, std::move(in), attr, std::move(name));
  if (out.ok()) return *out;
  fail(out.status());
  return kNoValue;
}

ValueId BlockBuilder::embed() {
  const ValueId ids = graph_.add_input("ids", Shape{options_.max_tokens}, DType::i32);
  const ValueId table = weight("token_embd.weight", Shape{config_.n_vocab, config_.d_model});
  return node(Op::embed, {table, ids}, {}, "embed");
}

ValueId BlockBuilder::norm(ValueId x, const std::string& name, std::int64_t size) {
  return node(Op::rms_norm, {x, weight(name, Shape{size})}, RmsNormAttr{config_.norm_eps}, name);
}

ValueId BlockBuilder::add(ValueId a, ValueId b, const std::string& name) {
  return node(Op::add, {a, b}, {}, name);
}

ValueId BlockBuilder::project(
    std::size_t layer, ValueId x, std::string_view part, std::int64_t n_out, std::int64_t n_in) {
  const std::string name = block_tensor(layer, part);
  std::vector<ValueId> in{x, weight(name + ".weight", Shape{n_out, n_in})};
  const ValueId bias = optional_weight(name + ".bias", Shape{n_out});
  if (bias != kNoValue) in.push_back(bias);
  return node(Op::matmul, std::move(in), {}, name);
}

std::vector<ValueId> BlockBuilder::rope_inputs(ValueId x) {
  std::vector<ValueId> in{x};
  const ValueId factors = optional_weight("rope_freqs.weight", Shape{config_.rope.rotary_dim / 2});
  if (factors != kNoValue) in.push_back(factors);
  return in;
}

ValueId BlockBuilder::rotate(std::size_t layer,
                             ValueId x,
                             std::string_view norm_part,
                             const std::string& name) {
  const std::string norm_name = block_tensor(layer, norm_part);
  if (model_.file.tensor(norm_name) != nullptr) x = norm(x, norm_name, config_.head_dim);
  return node(Op::rope, rope_inputs(x), config_.rope, name);
}

ValueId BlockBuilder::row_attention(std::size_t layer, const Qkv& x, const AttentionAttr& attr) {
  const Shape page{attr.n_kv_heads, kPageTokens, config_.head_dim};
  const DType dtype = options_.kv.rows;
  const ValueId keys = graph_.add_state(block_tensor(layer, "kv.k"), page, dtype, StateKind::kv_k);
  const ValueId values =
      graph_.add_state(block_tensor(layer, "kv.v"), page, dtype, StateKind::kv_v);
  node(Op::kv_append, {x.k, x.v, keys, values}, {}, block_tensor(layer, "kv_append"));
  return node(Op::attention, {x.q, keys, values}, attr, block_tensor(layer, "attention"));
}

ValueId BlockBuilder::transform(std::size_t layer,
                                ValueId x,
                                std::string_view part,
                                RotateAttr attr) {
  attr.transform = attr.transform && options_.kv.rotate;
  if (!attr.transform && !attr.round) return x;
  return node(Op::rotate, {x}, attr, block_tensor(layer, part));
}

ValueId BlockBuilder::tile_attention(std::size_t layer, const Qkv& x, AttentionAttr attr) {
  const std::int64_t ordinal = n_kv_layers_++;
  const quant::KvPolicy& kv = options_.kv;
  const quant::KvPair formats = kv.layer(ordinal, config_.n_attention_layers());
  const auto& streaming = model_.kv.streaming;
  const KvWindowAttr window{kv.sink_tokens(), kv.recent_tokens(),
                            kv.streaming && ordinal < std::ssize(streaming)
                                ? streaming[static_cast<std::size_t>(ordinal)]
                                : 0};
  const std::uint64_t k_signs = quant::hadamard_signs(ordinal, 0);
  const std::uint64_t v_signs = quant::hadamard_signs(ordinal, 1);
  const bool v_online = !model_.kv.v_folded;  // else the weights do it
  constexpr auto kForward = quant::Direction::forward, kInverse = quant::Direction::inverse;
  const ValueId q = transform(layer, x.q, "kv.q_rotate", {k_signs, kForward, true, false});
  const ValueId k = transform(layer, x.k, "kv.k_rotate", {k_signs, kForward, true, true});
  const ValueId v = transform(layer, x.v, "kv.v_rotate", {v_signs, kForward, v_online, true});
  const Shape page{window.page_head(attr.n_kv_heads), kPageTokens, config_.head_dim};
  const Shape slots{2 * std::int64_t{attr.n_kv_heads},
                    quant::kKvSinkTokens + kv_ring_tokens(config_, kv), config_.head_dim};
  const ValueId keys =
      graph_.add_state(block_tensor(layer, "kv.k"), page, DType::f16, StateKind::kv_k, formats.k);
  const ValueId values =
      graph_.add_state(block_tensor(layer, "kv.v"), page, DType::f16, StateKind::kv_v, formats.v);
  const ValueId recent =
      graph_.add_state(block_tensor(layer, "kv.window"), slots, DType::f16, StateKind::kv_window);
  node(Op::kv_seal, {k, v, keys, values, recent}, window, block_tensor(layer, "kv_seal"));
  attr.tiles = window;
  std::vector<ValueId> in{q, k, v, keys, values, recent};
  if (kv.sparse.any()) {
    const Shape rows{page[0], quant::kv_summary_values(config_.head_dim)};
    const ValueId summaries = graph_.add_state(block_tensor(layer, "kv.summary"), rows, DType::f16,
                                               StateKind::kv_summary);
    node(Op::kv_summary, {keys, summaries}, window, block_tensor(layer, "kv_summary"));
    if (graph_.max_tokens() == 1 ? kv.sparse.decode : kv.sparse.prefill) {
      attr.sparse = {kv.sparse.from, kv.sparse.pages};
      in.push_back(summaries);
    }
  }
  const ValueId mixed =
      node(Op::tile_attention, std::move(in), attr, block_tensor(layer, "attention"));
  node(Op::kv_window, {k, v, recent}, window, block_tensor(layer, "kv_window"));
  return transform(layer, mixed, "kv.v_restore", {v_signs, kInverse, v_online, false});
}

ValueId BlockBuilder::attention(std::size_t layer, ValueId u) {
  const std::int64_t n_kv = config_.layers[layer].n_kv_heads;
  const std::int64_t q_rows = config_.n_heads * config_.head_dim;
  const std::int64_t kv_rows = n_kv * config_.head_dim;
  ValueId q = project(layer, u, "attn_q", q_rows, config_.d_model);
  ValueId k = project(layer, u, "attn_k", kv_rows, config_.d_model);
  const ValueId v = project(layer, u, "attn_v", kv_rows, config_.d_model);
  q = rotate(layer, q, "attn_q_norm.weight", block_tensor(layer, "q_rope"));
  k = rotate(layer, k, "attn_k_norm.weight", block_tensor(layer, "k_rope"));
  AttentionAttr attr;
  attr.scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim));
  attr.n_heads = static_cast<int>(config_.n_heads);
  attr.n_kv_heads = static_cast<int>(n_kv);
  attr.head_dim = static_cast<int>(config_.head_dim);
  const ValueId mixed = options_.kv.tiled() ? tile_attention(layer, {q, k, v}, attr)
                                            : row_attention(layer, {q, k, v}, attr);
  return project(layer, mixed, "attn_output", config_.d_model, q_rows);
}

ValueId BlockBuilder::short_conv(std::size_t layer, ValueId u) {
  const std::int64_t d = config_.d_model;
  const ValueId bcx = project(layer, u, "shortconv.in_proj", 3 * d, d);
  const ValueId filter =
      weight(block_tensor(layer, "shortconv.conv.weight"), Shape{d, config_.conv_kernel});
  const Shape ring{config_.conv_kernel - 1 + options_.rollback_columns, d};
  const ValueId state =
      graph_.add_state(block_tensor(layer, "conv"), ring, DType::f32, StateKind::conv);
  std::vector<ValueId> in{bcx, filter, state};
  const ValueId bias = optional_weight(block_tensor(layer, "shortconv.conv.bias"), Shape{d});
  if (bias != kNoValue) in.push_back(bias);
  const ValueId y =
      node(Op::short_conv, std::move(in), ShortConvAttr{static_cast<int>(config_.conv_kernel)},
           block_tensor(layer, "short_conv"));
  return project(layer, y, "shortconv.out_proj", d, d);
}

ValueId BlockBuilder::gated_mlp(std::size_t layer, ValueId u) {
  // The feed-forward width is the tensor's, whatever the metadata claims.
  const ValueId probe = weight(block_tensor(layer, "ffn_gate.weight"), Shape{-1, config_.d_model});
  const std::int64_t width = probe == kNoValue ? 0 : graph_.value(probe).shape[0];
  const ValueId gate = project(layer, u, "ffn_gate", width, config_.d_model);
  const ValueId up = project(layer, u, "ffn_up", width, config_.d_model);
  const ValueId hidden = node(Op::swiglu, {gate, up}, {}, block_tensor(layer, "swiglu"));
  return project(layer, hidden, "ffn_down", config_.d_model, width);
}

ValueId BlockBuilder::experts(std::size_t layer, ValueId u) {
  const std::int64_t n = config_.n_experts, d = config_.d_model;
  std::vector<ValueId> route_in{
      node(Op::matmul, {u, weight(block_tensor(layer, "ffn_gate_inp.weight"), Shape{n, d})}, {},
           block_tensor(layer, "ffn_gate_inp"))};
  const ValueId bias = optional_weight(block_tensor(layer, "exp_probs_b.bias"), Shape{n});
  if (bias != kNoValue) route_in.push_back(bias);
  const ValueId weights =
      node(Op::moe_route, std::move(route_in), config_.moe, block_tensor(layer, "moe_route"));
  if (weights == kNoValue) return kNoValue;
  const ValueId ids = graph_.nodes().back().out[1];
  const ValueId gate_w = weight(block_tensor(layer, "ffn_gate_exps.weight"), Shape{n, -1, d});
  const std::int64_t width = gate_w == kNoValue ? 0 : graph_.value(gate_w).shape[1];
  const ValueId up_w = weight(block_tensor(layer, "ffn_up_exps.weight"), Shape{n, width, d});
  const ValueId down_w = weight(block_tensor(layer, "ffn_down_exps.weight"), Shape{n, d, width});
  const ValueId gate =
      node(Op::moe_matmul, {u, gate_w, ids}, {}, block_tensor(layer, "ffn_gate_exps"));
  const ValueId up = node(Op::moe_matmul, {u, up_w, ids}, {}, block_tensor(layer, "ffn_up_exps"));
  const ValueId hidden = node(Op::swiglu, {gate, up}, {}, block_tensor(layer, "swiglu"));
  const ValueId down =
      node(Op::moe_matmul, {hidden, down_w, ids}, {}, block_tensor(layer, "ffn_down_exps"));
  return node(Op::moe_sum, {down, weights}, {}, block_tensor(layer, "moe_sum"));
}

void BlockBuilder::head(ValueId h) {
  if (!status_.ok()) return;
  if (options_.logits == LogitsMode::last) h = node(Op::last_row, {h}, {}, "last_row");
  h = norm(h, config_.final_norm, config_.d_model);
  const bool untied = model_.file.tensor("output.weight") != nullptr;
  const ValueId table = weight(untied ? "output.weight" : "token_embd.weight",
                               Shape{config_.n_vocab, config_.d_model});
  const ValueId logits = node(Op::matmul, {h, table}, {}, "logits");
  if (logits == kNoValue) return;
  graph_.value(logits).name = "logits";
  graph_.mark_output(logits);
  if (options_.logits != LogitsMode::last) return;
  const ValueId top = node(Op::argmax, {logits}, {}, "top");
  if (top == kNoValue) return;
  graph_.value(top).name = "top";
  graph_.mark_output(top);
}

Result<Graph> build_graph(const Model& model, const BuildOptions& options) {
  BlockBuilder block(model, options);
  ValueId h = block.embed();
  for (std::size_t i = 0; i < model.config.layers.size() && block.status().ok(); ++i) {
    const LayerConfig& layer = model.config.layers[i];
    const ValueId u = block.norm(h, block_tensor(i, "attn_norm.weight"), model.config.d_model);
    const ValueId mixed =
        layer.kind == LayerKind::attention ? block.attention(i, u) : block.short_conv(i, u);
    h = block.add(h, mixed, block_tensor(i, "operator_residual"));
    const ValueId w = block.norm(h, block_tensor(i, "ffn_norm.weight"), model.config.d_model);
    h = block.add(h, layer.experts ? block.experts(i, w) : block.gated_mlp(i, w),
                  block_tensor(i, "ffn_residual"));
  }
  block.head(h);
  if (!block.status().ok()) return block.status();
  return block.take_graph();
}

}  // namespace runnel
