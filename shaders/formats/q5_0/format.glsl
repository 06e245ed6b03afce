// q5_0. Plane 0: 16 bytes of low codes per group. Plane 1: fifth bits. Plane 2: f16 scale.
const float kBase = 1.0, kLevels = 32.0;
const bool kHasOffset = true;

void load32(uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  const uint at = row * p.groups + g;
  nibbles5(weights16[m].w[at], weights4[m].w[p.plane1 + at], c);
  const float d = scale_at(m, p.plane2, at);
  s = vec2(d);
  o = vec2(-16.0 * d);
}
