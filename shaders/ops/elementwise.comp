//! variants: op=add,swiglu
// add: a + b. swiglu: silu(a) * b.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint cols, rows_fixed, rows_per_token; } p;
#include "step.glsl"
layout(set = 0, binding = 0, std430) readonly buffer A { float a[]; };
layout(set = 0, binding = 1, std430) readonly buffer B { float b[]; };
layout(set = 0, binding = 2, std430) buffer Y { float y[]; };

void main() {
  const uint n = rows_in_step(p.rows_fixed, p.rows_per_token) * p.cols;
  const uint stride = gl_WorkGroupSize.x * gl_NumWorkGroups.x;
  for (uint i = gl_GlobalInvocationID.x; i < n; i += stride) {
#ifdef RUNNEL_OP_add
    y[i] = a[i] + b[i];
#else
    y[i] = a[i] / (1.0 + exp(-a[i])) * b[i];
#endif
  }
}
