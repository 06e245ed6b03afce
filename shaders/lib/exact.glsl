// Division and square root rounded as IEEE says: a driver's own may be off by a few units. For numbers
// whose result is a normal one.
float round_bits(int exponent, uint q, bool sticky) {  // q: 24 bits and one more
  uint kept = q >> 1;
  if ((q & 1u) != 0u && (sticky || (kept & 1u) != 0u)) ++kept;
  return uintBitsToFloat((uint(exponent + 127) << 23) + (kept - 0x800000u));
}
/// a / b for a >= 0, b > 0.
float exact_divide(float a, float b) {
  const uint x = floatBitsToUint(a), y = floatBitsToUint(b);
  if (x < 0x800000u) return 0.0;
  int exponent = int(x >> 23) - int(y >> 23);
  uint rest = (x & 0x7FFFFFu) | 0x800000u;
  const uint divisor = (y & 0x7FFFFFu) | 0x800000u;
  if (rest < divisor) {
    rest <<= 1;
    --exponent;
  }
  if (exponent < -126 || exponent > 127 || y < 0x800000u) return a / b;
  uint q = 0u;
  for (int i = 0; i < 25; ++i) {
    q <<= 1;
    if (rest >= divisor) {
      rest -= divisor;
      q |= 1u;
    }
    rest <<= 1;
  }
  return round_bits(exponent, q, rest != 0u);
}
/// sqrt(a) for a >= 0.
float exact_sqrt(float a) {
  const uint x = floatBitsToUint(a);
  if (x < 0x800000u) return sqrt(a);
  int exponent = int(x >> 23) - 127;
  uint m = (x & 0x7FFFFFu) | 0x800000u;
  if ((exponent & 1) != 0) {
    m <<= 1;
    --exponent;
  }
  uint root = 0u, rest = 0u;
  for (int i = 24; i >= 0; --i) {  // two bits of m * 2^25 at a time
    const int at = 2 * i - 25;
    rest = rest << 2 | (at >= 0 ? m >> at & 3u : at == -1 ? m << 1 & 3u : 0u);
    const uint trial = root << 2 | 1u;
    root <<= 1;
    if (rest >= trial) {
      rest -= trial;
      root |= 1u;
    }
  }
  return round_bits(exponent / 2, root, rest != 0u);
}
