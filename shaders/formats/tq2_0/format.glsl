// tq2_0, and tq1_0 unpacked to it. Plane 0: 8 bytes of codes per group, in order. Plane 1: f16 scale
// per 8 groups.
const float kBase = 1.0, kLevels = 4.0;
const bool kHasOffset = true;

void load32(uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  const uint at = row * p.groups + g;
  for (int j = 0; j < 4; ++j) {
    c[j] = as_numbers(pairs(weights4[m].w[2u * at], j));
    c[j + 4] = as_numbers(pairs(weights4[m].w[2u * at + 1u], j));
  }
  const float d = scale_at(m, p.plane1, at >> 3);
  s = vec2(d);
  o = vec2(-d);
}
