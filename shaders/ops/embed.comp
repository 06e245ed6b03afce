//! variants: format=*
// embed: y[t] = table[ids[t]]. One thread per group of 32 values.
#version 450
#extension GL_GOOGLE_include_directive : require
#define RUNNEL_MATRICES 1
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push {
  uint groups, plane1, plane2, plane3;
  uint cols, n_rows, ids_fixed, ids_per_token;
} p;
#include "step.glsl"
#include "weights.glsl"
#include "format.glsl"
#include "load.glsl"
layout(set = 0, binding = 1, std430) readonly buffer Ids { int ids[]; };
layout(set = 0, binding = 2, std430) writeonly buffer Y { float y[]; };

void main() {
  const uint g = gl_GlobalInvocationID.x, t = gl_WorkGroupID.y;
  if (g >= p.groups || t >= rows_in_step(p.ids_fixed, p.ids_per_token)) return;
  int id = ids[t];
  if (id < 0 || uint(id) >= p.n_rows) {
    atomicOr(status.flags, kBadTokenId);
    id = 0;
  }
  vec4 c[8];
  vec2 s, o;
  load32(0, uint(id), g, c, s, o);
  for (uint i = 0u; i < 32u; ++i) {
    const uint col = 32u * g + i;
    if (col < p.cols) y[t * p.cols + col] = (c[i >> 2][i & 3u] - kBase) * kLevels * s[i >> 4] + o[i >> 4];
  }
}
