// q2_k. Plane 0: 8 bytes of codes per group, in order. Plane 1: two bytes per group, scale below and
// minimum above, of 16 values each. Plane 2: d and dmin (f16) per 8 groups.
const float kBase = 1.0, kLevels = 4.0;
const bool kHasOffset = true;

void load32(uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  const uint at = row * p.groups + g;
  for (int j = 0; j < 4; ++j) {
    c[j] = as_numbers(pairs(weights4[m].w[2u * at], j));
    c[j + 4] = as_numbers(pairs(weights4[m].w[2u * at + 1u], j));
  }
  const uint parts = half_at(m, p.plane1, at);
  const vec2 dm = unpackHalf2x16(weights4[m].w[p.plane2 + (at >> 3)]);
  s = dm.x * vec2(parts & 15u, parts >> 8 & 15u);
  o = -dm.y * vec2(parts >> 4 & 15u, parts >> 12 & 15u);
}
