//! variants: format=*
// Weights as f16 [N][K], for kernels that multiply 16-bit matrices. A thread per group of 32 values.
#version 450
#extension GL_GOOGLE_include_directive : require
#define RUNNEL_MATRICES 1
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint groups, plane1, plane2, plane3, n; } p;
#include "weights.glsl"
#include "format.glsl"
#include "load.glsl"
layout(set = 0, binding = 1, std430) writeonly buffer Y { uvec4 y[]; };

void main() {
  const uint total = p.groups * p.n, stride = gl_WorkGroupSize.x * gl_NumWorkGroups.x;
  for (uint i = gl_GlobalInvocationID.x; i < total; i += stride) {
    vec4 c[8];
    vec2 s, o;
    load32(0, i / p.groups, i % p.groups, c, s, o);
    for (uint j = 0u; j < 4u; ++j) {
      const vec4 a = (c[2u * j] - kBase) * kLevels * s[j >> 1] + o[j >> 1];
      const vec4 b = (c[2u * j + 1u] - kBase) * kLevels * s[j >> 1] + o[j >> 1];
      y[i * 4u + j] = uvec4(packHalf2x16(a.xy), packHalf2x16(a.zw), packHalf2x16(b.xy), packHalf2x16(b.zw));
    }
  }
}
