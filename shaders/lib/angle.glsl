// Cosine and sine of whole positions times a speed that is a 64-bit fraction of a turn: position *
// speed modulo one turn is exact, so no accuracy is lost at large positions, and the polynomials see an
// eighth of a turn at most. SOURCE of the coefficients: Taylor series; error below 4e-8.
vec2 cosine_sine(uint position, uvec2 speed) {  // speed: low word, high word
  uint high, low;
  umulExtended(position, speed.x, high, low);
  const uint turns = position * speed.y + high;  // in 2^-32 turns
  const uint quarter = (turns + 0x20000000u) >> 30;
  const float x = float(int(turns - (quarter << 30))) * (6.283185307179586 / 4294967296.0);
  const float z = x * x;
  const float s =
      x + x * z * (-1.6666666667e-1 + z * (8.3333333333e-3 + z * (-1.9841269841e-4 + z * 2.7557319224e-6)));
  const float c = 1.0 + z * (-0.5 + z * (4.1666666667e-2 +
                                         z * (-1.3888888889e-3 + z * (2.4801587302e-5 - z * 2.7557319e-7))));
  switch (quarter & 3u) {
    case 0u: return vec2(c, s);
    case 1u: return vec2(-s, c);
    case 2u: return vec2(-c, -s);
    default: return vec2(s, -c);
  }
}
