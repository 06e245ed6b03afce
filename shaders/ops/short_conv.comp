//! variants: stage=all,rows,ring
// short_conv: with p = B * x, out = C * (sum over taps of filter * p (+ bias)). p of earlier steps comes
// from the ring, slot position % columns. all: a thread per channel does every token and then writes the
// ring (few tokens). rows, then ring: a thread per (token, channel), for many tokens.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint d, taps, columns, state, has_bias; } p;
#include "step.glsl"
layout(set = 0, binding = 0, std430) readonly buffer Bcx { float bcx[]; };
layout(set = 0, binding = 1, std430) readonly buffer Filter { float taps[]; };
layout(set = 0, binding = 2, std430) readonly buffer Bias { float bias[]; };
layout(set = 0, binding = 3, std430) writeonly buffer Y { float y[]; };

const uint kFilterStride = 32u;  // rows of short matrices are padded to a group

float product(uint t, uint c) { return bcx[t * 3u * p.d + c] * bcx[(t * 3u + 2u) * p.d + c]; }

float row(uint t, uint c, uvec2 ring) {
  float sum = 0.0;
  for (uint k = 0u; k < p.taps; ++k) {
    const int source = int(t) - int(p.taps - 1u) + int(k);  // token of the step
    if (step.pos + source < 0) continue;
    const float v = source >= 0
        ? product(uint(source), c)
        : uintBitsToFloat(state_blocks[ring.x].words[ring.y + uint(step.pos + source) % p.columns * p.d + c]);
    sum += taps[c * kFilterStride + k] * v;
  }
  if (p.has_bias != 0u) sum += bias[c];
  return bcx[(t * 3u + 1u) * p.d + c] * sum;
}

void keep(uint t, uint c, uvec2 ring) {
  state_blocks[ring.x].words[ring.y + (uint(step.pos) + t) % p.columns * p.d + c] =
      floatBitsToUint(product(t, c));
}

void main() {
  const uint c = gl_GlobalInvocationID.x, n = uint(step.n_tokens);
  if (c >= p.d) return;
  const uvec2 ring = state_page(p.state, 0u);
#ifdef RUNNEL_STAGE_rows
  if (gl_WorkGroupID.y < n) y[gl_WorkGroupID.y * p.d + c] = row(gl_WorkGroupID.y, c, ring);
#else
#ifdef RUNNEL_STAGE_all
  for (uint t = 0u; t < n; ++t) y[t * p.d + c] = row(t, c, ring);
#endif
  for (uint t = n - min(n, p.columns); t < n; ++t) keep(t, c, ring);
#endif
}
