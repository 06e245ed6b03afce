// iq4_nl. Plane 0: 16 bytes of codes per group. Plane 1: f16 scale per group.
#include "levels_iq4.glsl"
const float kBase = 0.0, kLevels = 1.0;
const bool kHasOffset = false;

void load32(uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  const uint at = row * p.groups + g;
  const uvec4 q = weights16[m].w[at];
  for (int j = 0; j < 8; ++j) c[j] = iq4_levels(codes4(q, j));
  s = vec2(scale_at(m, p.plane1, at));
  o = vec2(0.0);
}
