// The attention of one token and what stands around it, in one dispatch.
#include "backends/vulkan/steps/operands.h"
#include "backends/vulkan/steps/steps.h"

namespace runnel::vulkan::steps {

Result<Step> attention_step(const Graph& graph,
                            const Node& node,
                            Bindings bindings,
                            const AttentionStep& around) {
  const auto& attr = attr_of<AttentionAttr>(node);
  const auto& rope = attr_of<RopeAttr>(*around.q);
  const bool normed = around.q->op == Op::rms_norm_rope;
  const std::int32_t k = graph.value(node.in[1]).state_index;
  const std::int32_t v = graph.value(node.in[2]).state_index;
  const std::int64_t values = std::int64_t{attr.n_heads} * attr.head_dim;
  RUNNEL_ASSIGN(Operand speed, rope_speeds(*around.q, bindings));
  Step step;
  step.recent = Step::kAllPages;
  step.scratch_bytes = static_cast<std::size_t>(attr.n_heads * kMaxSpans * (attr.head_dim + 2)) * 4;
  Dispatch d;
  d.shader = "attention_step." + std::to_string(attr.head_dim);
  d.constants = {128, u32(attr.n_heads / attr.n_kv_heads)};
  d.push = {u32(attr.n_heads),
            u32(k),
            u32(v),
            u32(attr.window),
            bits(attr.scale),
            u32(rope.rotary_dim / 2),
            rope.style == RopeStyle::interleaved,
            normed,
            bits(rope.eps),
            around.made.is_made,
            u32(values / 32)};
  // The counts of finished workgroups: each dispatch leaves the zeros that it found.
  Operand finished =
      constant(std::vector<std::uint32_t>(static_cast<std::size_t>(attr.n_kv_heads)));
  finished.access = Access::both;
  d.operands = {read(bindings, around.q->in[0]),
                read(bindings, around.k->in[0]),
                read(bindings, around.append->in[1]),
                write(bindings, node.out[0]),
                scratch(0, step.scratch_bytes, Access::both),
                std::move(finished),
                std::move(speed),
                read(bindings, around.q->in[normed ? 1 : 0]),
                read(bindings, around.k->in[normed ? 1 : 0])};
  Operand made = kept(around.made.offset, ready_bytes(values), Access::write);
  d.operands.push_back(around.made.is_made ? std::move(made) : read(bindings, around.q->in[0]));
  d.states = {{k, Access::both}, {v, Access::both}};
  // As many spans as there may be: a grid that the host writes before each step takes longer.
  d.grid = {Extent{u32(kMaxSpans)}, Extent{u32(attr.n_kv_heads)}, Extent{}};
  step.dispatches = {std::move(d)};
  return step;
}

}  // namespace runnel::vulkan::steps
