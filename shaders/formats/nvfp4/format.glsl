// nvfp4. Plane 0: 16 bytes of codes per group, as in q4_0. Plane 1: two bytes per group, E4M3 scales
// of 16 values each.
#include "levels_e2m1.glsl"
const float kBase = 0.0, kLevels = 1.0;
const bool kHasOffset = false;

float half_e4m3(uint b) {
  b &= 255u;
  if (b == 0x7Fu) return 0.0;
  const uint exponent = b >> 3 & 15u;
  const float mantissa = float(b & 7u);
  if (exponent == 0u) return mantissa * 0.0009765625;
  return (8.0 + mantissa) * float(1u << exponent) * 0.00048828125;
}

void load32(uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  const uint at = row * p.groups + g;
  const uvec4 q = weights16[m].w[at];
  for (int j = 0; j < 8; ++j) c[j] = e2m1_levels(codes4(q, j));
  const uint d = half_at(m, p.plane1, at);
  s = vec2(half_e4m3(d), half_e4m3(d >> 8));
  o = vec2(0.0);
}
