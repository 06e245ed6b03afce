// f16 <-> f32 bit by bit where a driver's own conversion may round another way.
/// Nearest, ties to even; overflow becomes infinity, NaN stays NaN.
uint f32_to_f16(float value) {
  const uint bits = floatBitsToUint(value);
  const uint sign = (bits >> 16) & 0x8000u;
  const uint magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return sign | 0x7E00u;
  if (magnitude >= 0x477FF000u) return sign | 0x7C00u;
  if (magnitude < 0x38800000u) {  // subnormal half: m * 2^-24
    if (magnitude < 0x33000000u) return sign;
    const uint shift = 126u - (magnitude >> 23);
    const uint mantissa = (magnitude & 0x7FFFFFu) | 0x800000u;
    const uint kept = mantissa >> shift, rest = mantissa & ((1u << shift) - 1u);
    const uint middle = 1u << (shift - 1u);
    return sign | (kept + uint(rest > middle || (rest == middle && (kept & 1u) != 0u)));
  }
  const uint odd = (magnitude >> 13) & 1u;
  return sign | ((magnitude - 0x38000000u + 0xFFFu + odd) >> 13);
}
float f16_to_f32(uint h) {
  const uint sign = (h & 0x8000u) << 16, exponent = (h >> 10) & 31u, mantissa = h & 0x3FFu;
  if (exponent == 0u) {
    const float magnitude = float(mantissa) * 5.9604644775390625e-8;  // 2^-24
    return sign != 0u ? -magnitude : magnitude;
  }
  const uint high = exponent == 31u ? 255u : exponent + 112u;
  return uintBitsToFloat(sign | (high << 23) | (mantissa << 13));
}
