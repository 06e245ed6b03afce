//! variants: experts=any
// moe_route: chooses k experts per token by score + selection bias, the lowest among equals, and weighs
// them by score alone. A workgroup per token; the scores are few.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push {
  uint n_experts, n_used, softmax, normalise;
  uint rows_fixed, rows_per_token, has_bias;
  float norm_eps, scale;
} p;
#include "step.glsl"
#include "reduce.glsl"
layout(set = 0, binding = 0, std430) readonly buffer Logits { float logits[]; };
layout(set = 0, binding = 1, std430) readonly buffer Bias { float bias[]; };
layout(set = 0, binding = 2, std430) buffer Weights { float weights[]; };
layout(set = 0, binding = 3, std430) writeonly buffer Ids { int ids[]; };
shared float score[1024];
shared float rank[1024];
shared uint best_id[gl_WorkGroupSize.x];

void main() {
  const uint t = gl_WorkGroupID.x, i = gl_LocalInvocationID.x, first = t * p.n_experts;
  const float kNone = uintBitsToFloat(0xFF800000u);
  if (t >= rows_in_step(p.rows_fixed, p.rows_per_token)) return;
  float largest = kNone;
  for (uint e = i; e < p.n_experts; e += gl_WorkGroupSize.x) largest = max(largest, logits[first + e]);
  largest = workgroup_max(largest);
  float total = 0.0;
  for (uint e = i; e < p.n_experts; e += gl_WorkGroupSize.x) {
    const float x = logits[first + e];
    score[e] = p.softmax != 0u ? exp(x - largest) : 1.0 / (1.0 + exp(-x));
    total += score[e];
  }
  total = workgroup_sum(total);
  for (uint e = i; e < p.n_experts; e += gl_WorkGroupSize.x) {
    if (p.softmax != 0u) score[e] /= total;
    rank[e] = p.has_bias != 0u ? score[e] + bias[e] : score[e];
  }
  barrier();
  float sum = 0.0;
  for (uint j = 0u; j < p.n_used; ++j) {
    float best = kNone;
    uint id = 0xFFFFFFFFu;
    for (uint e = i; e < p.n_experts; e += gl_WorkGroupSize.x)
      if (rank[e] > best || (rank[e] == best && e < id)) { best = rank[e]; id = e; }
    const float winner = workgroup_max(best);
    best_id[i] = best == winner ? id : 0xFFFFFFFFu;
    barrier();
    for (uint width = gl_WorkGroupSize.x / 2u; width > 0u; width /= 2u) {
      if (i < width) best_id[i] = min(best_id[i], best_id[i + width]);
      barrier();
    }
    const uint chosen = min(best_id[0], p.n_experts - 1u);
    barrier();
    sum += score[chosen];
    if (i == 0u) {
      ids[t * p.n_used + j] = int(chosen);
      weights[t * p.n_used + j] = score[chosen];
      rank[chosen] = kNone;
    }
    barrier();
  }
  const float divisor = p.normalise != 0u ? sum + p.norm_eps : 1.0;
  if (i == 0u)
    for (uint j = 0u; j < p.n_used; ++j)
      weights[t * p.n_used + j] = weights[t * p.n_used + j] / divisor * p.scale;
}
