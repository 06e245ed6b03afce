//! variants: row=any
// Makes a row ready for the products of a one-token step (lib/ready.glsl), where the kernel that makes the row
// cannot: it may be multiplied by the weight of a norm on the way. A thread per four values.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint groups, has_norm; } p;
const uint kReadyRoom = 4u * gl_WorkGroupSize.x;
#define RUNNEL_READY 2
#include "ready.glsl"
layout(set = 0, binding = 0, std430) readonly buffer X { vec4 x[]; };
layout(set = 0, binding = 1, std430) readonly buffer Norm { vec4 norm[]; };
shared float squares[gl_WorkGroupSize.x];

void main() {
  const uint i = gl_LocalInvocationID.x, at = gl_GlobalInvocationID.x;
  vec4 v = at < 8u * p.groups ? x[at] : vec4(0.0);
  squares[i] = dot(v, v);
  if (p.has_norm != 0u && at < 8u * p.groups) v *= norm[at];
  for (uint c = 0u; c < 4u; ++c) ready_values[4u * i + c] = v[c];
  barrier();
  write_ready(p.groups, 4u * gl_WorkGroupID.x * gl_WorkGroupSize.x, kReadyRoom);
  if ((i & 3u) == 0u && at < 8u * p.groups)
    ready_squares[12u * p.groups + (at >> 2)] =
        (squares[i] + squares[i + 1u]) + (squares[i + 2u] + squares[i + 3u]);
}
