//! variants: experts=any
// moe_sum: weighted sum of a token's k rows.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint d, k, rows_fixed, rows_per_token; } p;
#include "step.glsl"
layout(set = 0, binding = 0, std430) readonly buffer Rows { float rows[]; };
layout(set = 0, binding = 1, std430) readonly buffer Weights { float weights[]; };
layout(set = 0, binding = 2, std430) writeonly buffer Y { float y[]; };

void main() {
  const uint c = gl_GlobalInvocationID.x, t = gl_WorkGroupID.y;
  if (c >= p.d || t >= rows_in_step(p.rows_fixed, p.rows_per_token)) return;
  float sum = 0.0;
  for (uint j = 0u; j < p.k; ++j) sum += weights[t * p.k + j] * rows[(t * p.k + j) * p.d + c];
  y[t * p.d + c] = sum;
}
