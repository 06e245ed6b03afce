// f16. Plane 0: 4 pieces of 16 bytes per group; piece j of all groups of a row lies together.
const float kBase = 0.0, kLevels = 1.0;
const bool kHasOffset = false;

void load32(uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  const uint at = row * 4u * p.groups + g;
  for (uint j = 0u; j < 4u; ++j) {
    const uvec4 w = weights16[m].w[at + j * p.groups];
    c[2u * j] = vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y));
    c[2u * j + 1u] = vec4(unpackHalf2x16(w.z), unpackHalf2x16(w.w));
  }
  s = vec2(1.0);
  o = vec2(0.0);
}
