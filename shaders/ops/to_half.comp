//! variants: rows=scaled
// Rows as f16 [T][K] with a factor each: 1, or less where f16 would overflow. A workgroup per row.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint k, rows_fixed, rows_per_token; } p;
#include "step.glsl"
#include "reduce.glsl"
layout(set = 0, binding = 0, std430) readonly buffer X { vec4 x[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Y { uvec2 y[]; };
layout(set = 0, binding = 2, std430) writeonly buffer Factors { float factor[]; };

void main() {
  const uint t = gl_WorkGroupID.x, n = p.k / 4u;
  if (t >= rows_in_step(p.rows_fixed, p.rows_per_token)) return;
  float largest = 0.0;
  for (uint i = gl_LocalInvocationID.x; i < n; i += gl_WorkGroupSize.x) {
    const vec4 v = abs(x[t * n + i]);
    largest = max(largest, max(max(v.x, v.y), max(v.z, v.w)));
  }
  largest = workgroup_max(largest);
  const float down = largest > 32768.0 ? 32768.0 / largest : 1.0;
  for (uint i = gl_LocalInvocationID.x; i < n; i += gl_WorkGroupSize.x) {
    const vec4 v = x[t * n + i] * down;
    y[t * n + i] = uvec2(packHalf2x16(v.xy), packHalf2x16(v.zw));
  }
  if (gl_LocalInvocationID.x == 0u) factor[t] = 1.0 / down;
}
