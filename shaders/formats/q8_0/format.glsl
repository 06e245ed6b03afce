// q8_0. Plane 0: 2 pieces of 16 bytes per group (codes + 128), piece j of all groups of a row
// together. Plane 1: f16 scale per group.
#define RUNNEL_RAW
const float kBase = 1.0, kLevels = 256.0;
const bool kHasOffset = true;

struct Raw {
  uvec4 q[2];
  uint d;
};
Raw fetch32(uint m, uint row, uint g) {
  const uint at = row * 2u * p.groups + g;
  Raw raw;
  raw.q[0] = weights16[m].w[at];
  raw.q[1] = weights16[m].w[at + p.groups];
  raw.d = weights4[m].w[p.plane1 + ((row * p.groups + g) >> 1)];
  return raw;
}
void decode32(Raw raw, uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  for (uint j = 0u; j < 2u; ++j)
    for (int i = 0; i < 4; ++i) {
      const uint w = raw.q[j][i];
      c[4u * j + uint(i)] = as_numbers(uvec4(w << 15, w << 7, w >> 1, w >> 9) & 0x7F8000u);
    }
  const float d = half_of(raw.d, row * p.groups + g);
  s = vec2(d);
  o = vec2(-128.0 * d);
}
void codes32(Raw raw, uint row, uint g, out uvec4 first, out uvec4 last, out vec2 s, out vec2 o) {
  first = raw.q[0] ^ 0x80808080u;
  last = raw.q[1] ^ 0x80808080u;
  s = vec2(half_of(raw.d, row * p.groups + g));
  o = vec2(0.0);
}
