//! variants: row=each,part,merge
// argmax: the lowest index of each row's maximum. A workgroup per row; or one per piece of a long row, and
// then one per row that compares what the pieces found. All begin with the row's first value, so that NaN
// is passed over elsewhere, and nothing exceeds it there.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint cols, rows_fixed, rows_per_token, n_parts; } p;
#include "step.glsl"
// Bits of the largest value, and its index: [rows, n_parts].
#ifdef RUNNEL_ROW_merge
layout(set = 0, binding = 0, std430) readonly buffer Found { uvec2 found[]; };
#else
layout(set = 0, binding = 0, std430) readonly buffer X { float x[]; };
#endif
#ifdef RUNNEL_ROW_part
layout(set = 0, binding = 1, std430) writeonly buffer Found { uvec2 found[]; };
#else
layout(set = 0, binding = 1, std430) writeonly buffer Ids { int ids[]; };
#endif
shared float best[gl_WorkGroupSize.x];
shared uint index[gl_WorkGroupSize.x];

void consider(uint i, float value, uint at) {
  if (!(value > best[i] || (value == best[i] && at < index[i]))) return;
  best[i] = value;
  index[i] = at;
}

void main() {
  const uint part = gl_WorkGroupID.x, t = gl_WorkGroupID.y, i = gl_LocalInvocationID.x;
  if (t >= rows_in_step(p.rows_fixed, p.rows_per_token)) return;
#ifdef RUNNEL_ROW_merge
  best[i] = uintBitsToFloat(found[t * p.n_parts].x);
  index[i] = found[t * p.n_parts].y;
  for (uint c = i; c < p.n_parts; c += gl_WorkGroupSize.x) {
    const uvec2 one = found[t * p.n_parts + c];
    consider(i, uintBitsToFloat(one.x), one.y);
  }
#else
  best[i] = x[t * p.cols];
  index[i] = 0u;
  const uint length = (p.cols + p.n_parts - 1u) / p.n_parts;
  for (uint c = part * length + i; c < min(p.cols, (part + 1u) * length); c += gl_WorkGroupSize.x)
    consider(i, x[t * p.cols + c], c);
#endif
  barrier();
  for (uint width = gl_WorkGroupSize.x / 2u; width > 0u; width /= 2u) {
    if (i < width) consider(i, best[i + width], index[i + width]);
    barrier();
  }
  if (i != 0u) return;
#ifdef RUNNEL_ROW_part
  found[t * p.n_parts + part] = uvec2(floatBitsToUint(best[0]), index[0]);
#else
  ids[t] = int(index[0]);
#endif
}
