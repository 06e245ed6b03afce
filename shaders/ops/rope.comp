//! variants: norm=no,yes
// rope: the first rotary_dim columns of each head rotate in pairs; the rest is copied. norm=yes: each
// head is divided by its root mean square first (rms_norm_rope). A workgroup per (token, head).
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push {
  uint head_dim, n_heads, n_pairs, interleaved;
  float eps;
} p;
#include "step.glsl"
#include "angle.glsl"
layout(set = 0, binding = 0, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 1, std430) readonly buffer Speeds { uvec2 speed[]; };
layout(set = 0, binding = 2, std430) buffer Y { float y[]; };
#ifdef RUNNEL_NORM_yes
#include "reduce.glsl"
layout(set = 0, binding = 3, std430) readonly buffer Weight { float weight[]; };
#endif

void main() {
  const uint t = gl_WorkGroupID.y, first = (t * p.n_heads + gl_WorkGroupID.x) * p.head_dim;
  if (t >= uint(step.n_tokens)) return;
  float scale = 1.0;
#ifdef RUNNEL_NORM_yes
  float squares = 0.0;
  for (uint i = gl_LocalInvocationID.x; i < p.head_dim; i += gl_WorkGroupSize.x)
    squares += x[first + i] * x[first + i];
  scale = 1.0 / sqrt(workgroup_sum(squares) / float(p.head_dim) + p.eps);
#endif
  // A thread reads and writes the same elements: the result may lie where x was.
  for (uint i = gl_LocalInvocationID.x; i < p.n_pairs; i += gl_WorkGroupSize.x) {
    const uint one = p.interleaved != 0u ? 2u * i : i;
    const uint two = p.interleaved != 0u ? 2u * i + 1u : i + p.n_pairs;
    vec2 v = vec2(x[first + one], x[first + two]);
#ifdef RUNNEL_NORM_yes
    v = v * scale * vec2(weight[one], weight[two]);
#endif
    const vec2 turn = cosine_sine(uint(step.pos) + t, speed[i]);
    y[first + one] = v.x * turn.x - v.y * turn.y;
    y[first + two] = v.y * turn.x + v.x * turn.y;
  }
  for (uint i = 2u * p.n_pairs + gl_LocalInvocationID.x; i < p.head_dim; i += gl_WorkGroupSize.x) {
#ifdef RUNNEL_NORM_yes
    y[first + i] = x[first + i] * scale * weight[i];
#else
    y[first + i] = x[first + i];
#endif
  }
}
