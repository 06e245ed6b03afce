// q8_0. Plane 0: 2 pieces of 16 bytes per group (codes + 128), piece j of all groups of a row
// together. Plane 1: f16 scale per group.
const float kBase = 1.0, kLevels = 256.0;
const bool kHasOffset = true;

void load32(uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  const uint at = row * 2u * p.groups + g;
  for (uint j = 0u; j < 2u; ++j) {
    const uvec4 q = weights16[m].w[at + j * p.groups];
    for (int i = 0; i < 4; ++i) {
      const uint w = q[i];
      c[4u * j + uint(i)] = as_numbers(uvec4(w << 15, w << 7, w >> 1, w >> 9) & 0x7F8000u);
    }
  }
  const float d = scale_at(m, p.plane1, row * p.groups + g);
  s = vec2(d);
  o = vec2(-128.0 * d);
}
