// mxfp4. Plane 0: 16 bytes of codes per group. Plane 1: exponent byte per group: 2^(e - 128).
#include "levels_e2m1.glsl"
const float kBase = 0.0, kLevels = 1.0;
const bool kHasOffset = false;

void load32(uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  const uint at = row * p.groups + g;
  const uvec4 q = weights16[m].w[at];
  for (int j = 0; j < 8; ++j) c[j] = e2m1_levels(codes4(q, j));
  const uint e = byte_at(m, p.plane1, at);
  // e = 0 and 1 are the subnormals 2^-128 and 2^-127.
  s = vec2(uintBitsToFloat(e > 1u ? (e - 1u) << 23 : 0x200000u << e));
  o = vec2(0.0);
}
