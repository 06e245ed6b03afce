//! variants: spans=keys
// Adds up the spans of a split attention, the first one first. A workgroup per (query head, token).
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint n_heads, head_dim, n_parts; } p;
#include "step.glsl"
#include "spans.glsl"
layout(set = 0, binding = 0, std430) readonly buffer Parts { float parts[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Y { float y[]; };

void main() {
  const uint row = gl_WorkGroupID.y * p.n_heads + gl_WorkGroupID.x, dh = p.head_dim;
  if (gl_WorkGroupID.y >= uint(step.n_tokens)) return;
  const uint n = n_spans(kv_pos() + int(gl_WorkGroupID.y)), first = row * p.n_parts * (dh + 2u);
  float largest = uintBitsToFloat(0xFF800000u);
  for (uint s = 0u; s < n; ++s)
    if (parts[first + s * (dh + 2u) + dh + 1u] > 0.0)
      largest = max(largest, parts[first + s * (dh + 2u) + dh]);
  for (uint d = gl_LocalInvocationID.x; d < dh; d += gl_WorkGroupSize.x) {
    float total = 0.0, sum = 0.0;
    for (uint s = 0u; s < n; ++s) {
      const uint at = first + s * (dh + 2u);
      if (!(parts[at + dh + 1u] > 0.0)) continue;  // a window's keys are all in later spans
      const float weight = exp(parts[at + dh] - largest);
      total = fma(weight, parts[at + d], total);
      sum = fma(weight, parts[at + dh + 1u], sum);
    }
    y[row * dh + d] = total / sum;
  }
}
