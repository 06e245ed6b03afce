// q6_k. Plane 0: 16 bytes of low codes per group, as in q4_0. Plane 1: 8 bytes of high codes. Plane 2:
// two signed bytes, the scales of 16 values each. Plane 3: f16 scale per 8 groups.
const float kBase = 1.0, kLevels = 64.0;
const bool kHasOffset = true;

void load32(uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  const uint at = row * p.groups + g;
  const uvec4 q = weights16[m].w[at];
  for (int j = 0; j < 4; ++j) {
    const uint w = q[j];
    const uvec4 low = uvec4(w << 17, w << 9, w << 1, w >> 7) & 0x1E0000u;
    const uvec4 up = uvec4(w << 13, w << 5, w >> 3, w >> 11) & 0x1E0000u;
    c[j] = as_numbers(low | pairs(weights4[m].w[p.plane1 + 2u * at], j));
    c[j + 4] = as_numbers(up | pairs(weights4[m].w[p.plane1 + 2u * at + 1u], j));
  }
  const uint scales = half_at(m, p.plane2, at);
  const float d = scale_at(m, p.plane3, at >> 3);
  s = d * vec2(signed_byte(scales), signed_byte(scales >> 8));
  o = -32.0 * s;
}
