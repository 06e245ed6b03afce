// q4_k. Plane 0: 16 bytes of codes per group, as in q4_0. Plane 1: header of 16 bytes per 8 groups.
#define RUNNEL_RAW
#include "scales6.glsl"
const float kBase = 1.0, kLevels = 16.0;
const bool kHasOffset = true;

struct Raw {
  uvec4 q, header;
};
Raw fetch32(uint m, uint row, uint g) {
  const uint at = row * p.groups + g;
  return Raw(weights16[m].w[at], weights16[m].w[(p.plane1 >> 2) + (at >> 3)]);
}
void decode32(Raw raw, uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  nibbles(raw.q, c);
  const vec2 pair = scales6(raw.header, g & 7u);
  s = vec2(pair.x);
  o = vec2(-pair.y);
}
void codes32(Raw raw, uint row, uint g, out uvec4 first, out uvec4 last, out vec2 s, out vec2 o) {
  first = raw.q & 0x0F0F0F0Fu;
  last = raw.q >> 4 & 0x0F0F0F0Fu;
  const vec2 pair = scales6(raw.header, g & 7u);
  s = vec2(pair.x);
  o = vec2(-pair.y);
}
