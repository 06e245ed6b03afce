// Levels of iq4_nl and iq4_xs. SOURCE: quant/iq4_levels.h.
const float kIq4Levels[16] = float[](-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0,
                                     25.0, 38.0, 53.0, 69.0, 89.0, 113.0);
vec4 iq4_levels(uvec4 code) {
  return vec4(kIq4Levels[code.x], kIq4Levels[code.y], kIq4Levels[code.z], kIq4Levels[code.w]);
}
