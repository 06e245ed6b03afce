// LFM2-MoE checkpoints: the first layers dense, the others with experts, which GGUF wants stacked
// as [experts, rows, columns]. Names and rules: transformers, modular_lfm2_moe.py.
#include "converters/hf_dense.h"
#include "converters/hf_lfm2.h"
#include "converters/registry.h"
#include "runtime/base/quote.h"

namespace runnel::converters {
namespace {

constexpr std::int64_t kMaxExperts = 4096;

struct MoeConfig {
  std::int64_t n_experts = 0;
  std::int64_t n_used = 0;
  std::int64_t n_dense_layers = 0;
  std::int64_t n_ff = 0;          // one expert
  double weights_scale = 1;       // routed_scaling_factor
  bool normalise_weights = true;  // norm_topk_prob
  bool expert_bias = true;        // use_expert_bias
};

std::string experts_of(std::int64_t layer) {
  return hf_layer(layer) + "feed_forward.experts.";
}

// "…experts.gate_up_proj", with or without ".weight", or null.
const SourceTensor* find_fused(TensorPlanner& planner,
                               std::int64_t layer,
                               const std::string& name) {
  for (const std::string_view ending : {"", ".weight"}) {
    const std::string full = experts_of(layer) + name + std::string(ending);
    if (planner.has(full)) return planner.need(full, 3);
  }
  return nullptr;
}

// One expert's width, from its first tensor.
std::int64_t read_expert_width(const MoeConfig& moe, TensorPlanner& planner) {
  if (const SourceTensor* fused = find_fused(planner, moe.n_dense_layers, "gate_up_proj"))
    return fused->shape[1] / 2;
  const SourceTensor* gate = planner.need(experts_of(moe.n_dense_layers) + "0.w1.weight", 2);
  return gate == nullptr ? 0 : gate->shape[0];
}

Result<MoeConfig> read_moe(const Fields& config, const Lfm2Config& c, TensorPlanner& planner) {
  MoeConfig moe;
  RUNNEL_ASSIGN(moe.n_experts, config.count_of({"num_experts", "n_experts"}));
  RUNNEL_ASSIGN(moe.n_used, config.count_of({"num_experts_per_tok"}));
  RUNNEL_ASSIGN(const auto n_dense, config.get_int("num_dense_layers"));
  RUNNEL_ASSIGN(moe.weights_scale, config.positive_or("routed_scaling_factor", 1));
  RUNNEL_ASSIGN(moe.normalise_weights, config.bool_or("norm_topk_prob", true));
  RUNNEL_ASSIGN(moe.expert_bias, config.bool_or("use_expert_bias", true));
  moe.n_dense_layers = n_dense.value_or(0);
  if (moe.n_experts > kMaxExperts) return config.bad("num_experts", "is out of range");
  if (moe.n_used > moe.n_experts) return config.bad("num_experts_per_tok", "is out of range");
  if (moe.n_dense_layers < 0 || moe.n_dense_layers >= c.n_layers)
    return config.bad("num_dense_layers", "is out of range");
  moe.n_ff = read_expert_width(moe, planner);
  RUNNEL_TRY(planner.status());
  if (moe.n_ff < 1) return Status(Code::corrupt, "expert tensors have no rows");
  return moe;
}

// [n_experts, rows, cols] from tensors "experts.E.NAME.weight" [rows, cols].
void add_stacked(const MoeConfig& moe,
                 const std::string& from,
                 std::string_view name,
                 PlannedTensor out,
                 TensorPlanner& planner) {
  const std::vector<std::int64_t> expected{out.shape[1], out.shape[2]};
  for (std::int64_t e = 0; e < moe.n_experts; ++e) {
    const SourceTensor* tensor =
        planner.need(from + std::to_string(e) + "." + std::string(name) + ".weight", 2);
    if (tensor == nullptr) return;
    if (tensor->shape != expected ||
        (!out.pieces.empty() && tensor->dtype != out.pieces.front().tensor->dtype))
      return planner.fail(
          Status(Code::corrupt, "tensor " + runnel::quote(tensor->name) +
                                    " differs from the other experts in shape or dtype"));
    out.pieces.push_back({tensor, 0, out.shape[1]});
  }
  planner.add(std::move(out));
}

// [n_experts, rows, cols]: per expert, `out`'s rows from row `first` of a fused 3-D tensor.
void add_fused(const MoeConfig& moe,
               const SourceTensor& fused,
               std::int64_t first,
               std::int64_t fused_rows,
               PlannedTensor out,
               TensorPlanner& planner) {
  const std::vector<std::int64_t> expected{moe.n_experts, fused_rows, out.shape[2]};
  if (fused.shape != expected)
    return planner.fail(
        Status(Code::corrupt, "tensor " + runnel::quote(fused.name) + " does not have the shape [" +
                                  std::to_string(expected[0]) + ", " + std::to_string(expected[1]) +
                                  ", " + std::to_string(expected[2]) + "]"));
  for (std::int64_t e = 0; e < moe.n_experts; ++e)
    out.pieces.push_back({&fused, e * fused_rows + first, out.shape[1]});
  planner.add(std::move(out));
}

void add_experts(const Lfm2Config& c,
                 const MoeConfig& moe,
                 std::int64_t layer,
                 TensorPlanner& planner) {
  const std::string from = hf_layer(layer) + "feed_forward.";
  const std::string to = gguf_layer(layer);
  planner.add(to + "ffn_gate_inp.weight", from + "gate.weight", {moe.n_experts, c.width});
  if (moe.expert_bias) planner.add(to + "exp_probs_b.bias", from + "expert_bias", {moe.n_experts});
  const Shape wide{moe.n_experts, moe.n_ff, c.width};
  const Shape tall{moe.n_experts, c.width, moe.n_ff};
  const PlannedTensor gate{to + "ffn_gate_exps.weight", wide, {}};
  const PlannedTensor up{to + "ffn_up_exps.weight", wide, {}};
  const PlannedTensor down{to + "ffn_down_exps.weight", tall, {}};
  const SourceTensor* gate_up = find_fused(planner, layer, "gate_up_proj");
  const SourceTensor* fused_down = find_fused(planner, layer, "down_proj");
  if (gate_up != nullptr && fused_down != nullptr) {  // rows of gate first, then those of up
    add_fused(moe, *gate_up, 0, 2 * moe.n_ff, gate, planner);
    add_fused(moe, *gate_up, moe.n_ff, 2 * moe.n_ff, up, planner);
    add_fused(moe, *fused_down, 0, c.width, down, planner);
    return;
  }
  add_stacked(moe, experts_of(layer), "w1", gate, planner);
  add_stacked(moe, experts_of(layer), "w3", up, planner);
  add_stacked(moe, experts_of(layer), "w2", down, planner);
}

void set_moe_keys(const MoeConfig& moe, GgufWriter& meta) {
  set_count(meta, "lfm2moe", "expert_count", moe.n_experts);
  set_count(meta, "lfm2moe", "expert_used_count", moe.n_used);
  set_count(meta, "lfm2moe", "expert_feed_forward_length", moe.n_ff);
  set_count(meta, "lfm2moe", "leading_dense_block_count", moe.n_dense_layers);
  set_count(meta, "lfm2moe", "expert_gating_func", 2);  // sigmoid
  meta.set_f32("lfm2moe.expert_weights_scale", static_cast<float>(moe.weights_scale));
  meta.set_bool("lfm2moe.expert_weights_norm", moe.normalise_weights);
}

}  // namespace

Result<ModelPlan> plan_lfm2moe(const Fields& config,
                               const Checkpoint& checkpoint,
                               GgufWriter& meta) {
  RUNNEL_ASSIGN(TensorPlanner planner, TensorPlanner::start(checkpoint));
  RUNNEL_ASSIGN(const Lfm2Config c, read_lfm2(config, planner));
  RUNNEL_ASSIGN(const MoeConfig moe, read_moe(config, c, planner));
  RUNNEL_ASSIGN(std::int64_t n_ff, config.count_or("intermediate_size", moe.n_ff));
  if (moe.n_dense_layers > 0) {
    const SourceTensor* gate = planner.need("layers.0.feed_forward.w1.weight", 2);
    RUNNEL_TRY(planner.status());
    n_ff = gate->shape[0];
  }
  add_lfm2_embedding(c, planner);
  for (std::int64_t i = 0; i < c.n_layers && planner.status().ok(); ++i) {
    add_lfm2_operator(c, i, planner);
    if (i < moe.n_dense_layers) {
      add_lfm2_feed_forward(c, i, n_ff, planner);
    } else {
      add_experts(c, moe, i, planner);
    }
  }
  add_lfm2_end(c, planner);
  RUNNEL_TRY(planner.finish());
  set_lfm2_keys(c, "lfm2moe", meta);
  set_count(meta, "lfm2moe", "feed_forward_length", n_ff);
  set_moe_keys(moe, meta);
  return ModelPlan{planner.take_tensors(), planner.notes(), c.n_vocab};
}

}  // namespace runnel::converters
