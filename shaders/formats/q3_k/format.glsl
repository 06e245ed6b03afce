// q3_k. Plane 0: 8 bytes of low codes per group, in order. Plane 1: third bits per group. Plane 2: two
// signed bytes per group, the scales of 16 values each. Plane 3: f16 scale per 8 groups.
const float kBase = 1.0, kLevels = 8.0;
const bool kHasOffset = true;

void load32(uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  const uint at = row * p.groups + g;
  const uint high = weights4[m].w[p.plane1 + at];
  for (int j = 0; j < 8; ++j) {
    const uint h = high >> (4 * j);
    const uvec4 third = uvec4(h << 22, h << 21, h << 20, h << 19) & 0x400000u;
    c[j] = as_numbers(pairs(weights4[m].w[2u * at + uint(j >> 2)], j & 3) >> 1 | third);
  }
  const uint scales = half_at(m, p.plane2, at);
  const float d = scale_at(m, p.plane3, at >> 3);
  s = d * vec2(signed_byte(scales), signed_byte(scales >> 8));
  o = -4.0 * s;
}
