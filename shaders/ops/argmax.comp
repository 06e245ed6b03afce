//! variants: row=each
// argmax: the lowest index of each row's maximum. A workgroup per row.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint cols, rows_fixed, rows_per_token; } p;
#include "step.glsl"
layout(set = 0, binding = 0, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Ids { int ids[]; };
shared float best[gl_WorkGroupSize.x];
shared uint index[gl_WorkGroupSize.x];

void main() {
  const uint t = gl_WorkGroupID.x, i = gl_LocalInvocationID.x;
  if (t >= rows_in_step(p.rows_fixed, p.rows_per_token)) return;
  best[i] = uintBitsToFloat(0xFF800000u);
  index[i] = 0xFFFFFFFFu;
  for (uint c = i; c < p.cols; c += gl_WorkGroupSize.x)
    if (x[t * p.cols + c] > best[i] || index[i] == 0xFFFFFFFFu) {
      best[i] = x[t * p.cols + c];
      index[i] = c;
    }
  barrier();
  for (uint width = gl_WorkGroupSize.x / 2u; width > 0u; width /= 2u) {
    if (i < width && index[i + width] != 0xFFFFFFFFu &&
        (best[i + width] > best[i] || (best[i + width] == best[i] && index[i + width] < index[i]))) {
      best[i] = best[i + width];
      index[i] = index[i + width];
    }
    barrier();
  }
  if (i == 0u) ids[t] = int(index[0]);
}
