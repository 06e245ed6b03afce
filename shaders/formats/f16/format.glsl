// f16. Plane 0: 4 pieces of 16 bytes per group; piece j of all groups of a row lies together.
#define RUNNEL_RAW
const float kBase = 0.0, kLevels = 1.0;
const bool kHasOffset = false;

struct Raw {
  uvec4 q[4];
};
Raw fetch32(uint m, uint row, uint g) {
  const uint at = row * 4u * p.groups + g;
  Raw raw;
  for (uint j = 0u; j < 4u; ++j) raw.q[j] = weights16[m].w[at + j * p.groups];
  return raw;
}
void decode32(Raw raw, uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  for (uint j = 0u; j < 4u; ++j) {
    c[2u * j] = vec4(unpackHalf2x16(raw.q[j].x), unpackHalf2x16(raw.q[j].y));
    c[2u * j + 1u] = vec4(unpackHalf2x16(raw.q[j].z), unpackHalf2x16(raw.q[j].w));
  }
  s = vec2(1.0);
  o = vec2(0.0);
}
