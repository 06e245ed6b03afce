// f32. Plane 0: 8 pieces of 16 bytes per group; piece j of all groups of a row lies together.
const float kBase = 0.0, kLevels = 1.0;
const bool kHasOffset = false;

void load32(uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  const uint at = row * 8u * p.groups + g;
  for (uint j = 0u; j < 8u; ++j) c[j] = uintBitsToFloat(weights16[m].w[at + j * p.groups]);
  s = vec2(1.0);
  o = vec2(0.0);
}
