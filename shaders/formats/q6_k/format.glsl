// q6_k. Plane 0: 16 bytes of low codes per group, as in q4_0. Plane 1: 8 bytes of high codes. Plane 2:
// two signed bytes, the scales of 16 values each. Plane 3: f16 scale per 8 groups.
#define RUNNEL_RAW
const float kBase = 1.0, kLevels = 64.0;
const bool kHasOffset = true;

struct Raw {
  uvec4 q;
  uvec2 high;
  uint scales, d;
};
Raw fetch32(uint m, uint row, uint g) {
  const uint at = row * p.groups + g;
  return Raw(weights16[m].w[at], uvec2(weights4[m].w[p.plane1 + 2u * at], weights4[m].w[p.plane1 + 2u * at + 1u]),
             weights4[m].w[p.plane2 + (at >> 1)], weights4[m].w[p.plane3 + (at >> 4)]);
}
void decode32(Raw raw, uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  const uint at = row * p.groups + g;
  for (int j = 0; j < 4; ++j) {
    const uint w = raw.q[j];
    const uvec4 low = uvec4(w << 17, w << 9, w << 1, w >> 7) & 0x1E0000u;
    const uvec4 up = uvec4(w << 13, w << 5, w >> 3, w >> 11) & 0x1E0000u;
    c[j] = as_numbers(low | pairs(raw.high.x, j));
    c[j + 4] = as_numbers(up | pairs(raw.high.y, j));
  }
  const uint scales = bitfieldExtract(raw.scales, int(at & 1u) * 16, 16);
  const float d = half_of(raw.d, at >> 3);
  s = d * vec2(signed_byte(scales), signed_byte(scales >> 8));
  o = -32.0 * s;
}
/// The four codes of two bits in byte j of `w`, as bits 4 and 5 of four bytes.
uint high_bits(uint w, int j) {
  const uint b = bitfieldExtract(w, 8 * j, 8);
  return (b << 4 & 0x30u) | (b << 10 & 0x3000u) | (b << 16 & 0x300000u) | (b << 22 & 0x30000000u);
}
void codes32(Raw raw, uint row, uint g, out uvec4 first, out uvec4 last, out vec2 s, out vec2 o) {
  const uint at = row * p.groups + g, x = raw.high.x, y = raw.high.y;
  first = raw.q & 0x0F0F0F0Fu;
  last = raw.q >> 4 & 0x0F0F0F0Fu;
  first |= uvec4(high_bits(x, 0), high_bits(x, 1), high_bits(x, 2), high_bits(x, 3));
  last |= uvec4(high_bits(y, 0), high_bits(y, 1), high_bits(y, 2), high_bits(y, 3));
  const uint scales = bitfieldExtract(raw.scales, int(at & 1u) * 16, 16);
  s = half_of(raw.d, at >> 3) * vec2(signed_byte(scales), signed_byte(scales >> 8));
  o = -32.0 * s;
}
