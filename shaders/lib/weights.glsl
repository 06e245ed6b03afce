// The matrices of a product: binding 0, RUNNEL_MATRICES of them, each cut into planes
// (backends/vulkan/weight_layout.h). A format gives
//   void load32(uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o);
// for group g (32 values) of a row of matrix m: value i = (c - kBase) * kLevels * s[i / 16]
// + o[i / 16]. One that defines RUNNEL_RAW gives its two halves instead, so that a kernel can ask for
// the bytes of several groups before it waits for any: Raw fetch32(m, row, g), decode32(raw, ...). Codes of few bits are put into the mantissa of a number in [1, 2): no conversion.
layout(set = 0, binding = 0, std430) readonly buffer Weights16 { uvec4 w[]; } weights16[RUNNEL_MATRICES];
layout(set = 0, binding = 0, std430) readonly buffer Weights4 { uint w[]; } weights4[RUNNEL_MATRICES];

const uint kOne = 0x3F800000u;

uint byte_at(uint m, uint plane, uint i) {
  return bitfieldExtract(weights4[m].w[plane + (i >> 2)], int(i & 3u) * 8, 8);
}
uint half_at(uint m, uint plane, uint i) {
  return bitfieldExtract(weights4[m].w[plane + (i >> 1)], int(i & 1u) * 16, 16);
}
float scale_at(uint m, uint plane, uint i) { return unpackHalf2x16(half_at(m, plane, i)).x; }
/// The f16 number i of a plane, whose word is known.
float half_of(uint word, uint i) {
  const vec2 both = unpackHalf2x16(word);
  return (i & 1u) == 0u ? both.x : both.y;
}

vec4 as_numbers(uvec4 mantissas) { return uintBitsToFloat(mantissas | kOne); }

/// 32 codes of 4 bits in 16 bytes, code i in the low half of byte i, code i + 16 in the high half:
/// 1 + code / 16.
void nibbles(uvec4 q, out vec4 c[8]) {
  for (int j = 0; j < 4; ++j) {
    const uint w = q[j];
    c[j] = as_numbers(uvec4(w << 19, w << 11, w << 3, w >> 5) & 0x780000u);
    c[j + 4] = as_numbers(uvec4(w << 15, w << 7, w >> 1, w >> 9) & 0x780000u);
  }
}
/// The same with a fifth bit per code in `high`: 1 + code / 32.
void nibbles5(uvec4 q, uint high, out vec4 c[8]) {
  for (int j = 0; j < 4; ++j) {
    const uint w = q[j], h = high >> (4 * j);
    const uvec4 low = uvec4(w << 18, w << 10, w << 2, w >> 6) & 0x3C0000u;
    const uvec4 up = uvec4(w << 14, w << 6, w >> 2, w >> 10) & 0x3C0000u;
    const uvec4 a = uvec4(h << 22, h << 21, h << 20, h << 19) & 0x400000u;
    const uvec4 b = uvec4(h << 6, h << 5, h << 4, h << 3) & 0x400000u;
    c[j] = as_numbers(low | a);
    c[j + 4] = as_numbers(up | b);
  }
}
/// 16 codes of 2 bits in a word, the first lowest, as bits [21, 22] of a mantissa.
uvec4 pairs(uint w, int j) {
  w >>= 8 * j;
  return uvec4(w << 21, w << 19, w << 17, w << 15) & 0x600000u;
}
/// Codes 4j .. of nibbles() as whole numbers, for formats that look them up.
uvec4 codes4(uvec4 q, int j) {
  const uint w = q[j & 3] >> (j < 4 ? 0 : 4);
  return uvec4(w, w >> 8, w >> 16, w >> 24) & 15u;
}
/// Signed byte.
float signed_byte(uint b) { return float(int(b << 24) >> 24); }
