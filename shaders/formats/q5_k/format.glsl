// q5_k. Plane 0: 16 bytes of low codes per group, as in q4_0. Plane 1: fifth bits per group. Plane 2:
// header of 16 bytes per 8 groups.
#include "scales6.glsl"
const float kBase = 1.0, kLevels = 32.0;
const bool kHasOffset = true;

void load32(uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  const uint at = row * p.groups + g;
  nibbles5(weights16[m].w[at], weights4[m].w[p.plane1 + at], c);
  const vec2 pair = scales6(weights16[m].w[(p.plane2 >> 2) + (at >> 3)], g & 7u);
  s = vec2(pair.x);
  o = vec2(-pair.y);
}
