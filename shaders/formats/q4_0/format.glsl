// q4_0. Plane 0: 16 bytes of codes per group. Plane 1: f16 scale per group.
#define RUNNEL_RAW
const float kBase = 1.0, kLevels = 16.0;
const bool kHasOffset = true;

struct Raw {
  uvec4 q;
  uint d;
};
Raw fetch32(uint m, uint row, uint g) {
  const uint at = row * p.groups + g;
  return Raw(weights16[m].w[at], weights4[m].w[p.plane1 + (at >> 1)]);
}
void decode32(Raw raw, uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  nibbles(raw.q, c);
  const float d = half_of(raw.d, row * p.groups + g);
  s = vec2(d);
  o = vec2(-8.0 * d);
}
void codes32(Raw raw, uint row, uint g, out uvec4 first, out uvec4 last, out vec2 s, out vec2 o) {
  first = raw.q & 0x0F0F0F0Fu;
  last = raw.q >> 4 & 0x0F0F0F0Fu;
  s = vec2(half_of(raw.d, row * p.groups + g));
  o = -8.0 * s;
}
