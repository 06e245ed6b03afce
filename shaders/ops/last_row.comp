//! variants: row=last
// last_row: the row of the step's last token.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint cols, rows_fixed, rows_per_token; } p;
#include "step.glsl"
layout(set = 0, binding = 0, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Y { float y[]; };

void main() {
  const uint last = rows_in_step(p.rows_fixed, p.rows_per_token) - 1u;
  const uint c = gl_GlobalInvocationID.x;
  if (c < p.cols) y[c] = x[last * p.cols + c];
}
