// Twice the values of E2M1 codes. SOURCE: quant/e2m1.h.
const float kE2m1Doubled[16] = float[](0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0,
                                       -4.0, -6.0, -8.0, -12.0);
vec4 e2m1_levels(uvec4 code) {
  return vec4(kE2m1Doubled[code.x], kE2m1Doubled[code.y], kE2m1Doubled[code.z], kE2m1Doubled[code.w]);
}
