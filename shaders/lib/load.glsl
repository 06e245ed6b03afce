// load32 from the halves of a format, or the halves from its load32: see weights.glsl.
#ifdef RUNNEL_RAW
void load32(uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  decode32(fetch32(m, row, g), m, row, g, c, s, o);
}
#else
struct Raw {
  uint nothing;
};
Raw fetch32(uint m, uint row, uint g) { return Raw(0u); }
void decode32(Raw raw, uint m, uint row, uint g, out vec4 c[8], out vec2 s, out vec2 o) {
  load32(m, row, g, c, s, o);
}
#endif
