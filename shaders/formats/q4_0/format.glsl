// q4_0. Plane 0: 16 bytes of codes per group. Plane 1: f16 scale per group.
const float kBase = 1.0, kLevels = 16.0;
const bool kHasOffset = true;

void load32(uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  const uint at = row * p.groups + g;
  nibbles(weights16[m].w[at], c);
  const float d = scale_at(m, p.plane1, at);
  s = vec2(d);
  o = vec2(-8.0 * d);
}
