//! variants: input=one,sum
// rms_norm: each group of d columns divided by its root mean square, times the weight. `sum`: of a + b,
// which is stored too (add_rms_norm). A workgroup per group.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push {
  uint d, groups_per_row, rows_fixed, rows_per_token;
  float eps;
} p;
#include "step.glsl"
#include "reduce.glsl"
layout(set = 0, binding = 0, std430) readonly buffer A { float a[]; };
layout(set = 0, binding = 1, std430) readonly buffer Weight { float weight[]; };
layout(set = 0, binding = 2, std430) buffer Y { float y[]; };
#ifdef RUNNEL_INPUT_sum
layout(set = 0, binding = 3, std430) readonly buffer B { float b[]; };
layout(set = 0, binding = 4, std430) buffer Sum { float sum[]; };
#endif

void main() {
  const uint n_groups = rows_in_step(p.rows_fixed, p.rows_per_token) * p.groups_per_row;
  for (uint group = gl_WorkGroupID.x; group < n_groups; group += gl_NumWorkGroups.x) {
    const uint first = group * p.d;
    float squares = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < p.d; i += gl_WorkGroupSize.x) {
#ifdef RUNNEL_INPUT_sum
      const float v = a[first + i] + b[first + i];
      sum[first + i] = v;
#else
      const float v = a[first + i];
#endif
      squares += v * v;
    }
    const float scale = 1.0 / sqrt(workgroup_sum(squares) / float(p.d) + p.eps);
    for (uint i = gl_LocalInvocationID.x; i < p.d; i += gl_WorkGroupSize.x) {
#ifdef RUNNEL_INPUT_sum
      y[first + i] = sum[first + i] * scale * weight[i];
#else
      y[first + i] = a[first + i] * scale * weight[i];
#endif
    }
  }
}
