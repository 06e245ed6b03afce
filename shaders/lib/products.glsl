// A group of 32 weights times 32 values, added to a sum: the same operations in the same order in every
// kernel that multiplies few rows. half0, half1: sums of the first and last 16 values.
float dot16(vec4 c[8], vec4 v[8], uint first) {
  vec4 sum = c[first] * v[first];
  sum = fma(c[first + 1u], v[first + 1u], sum);
  sum = fma(c[first + 2u], v[first + 2u], sum);
  sum = fma(c[first + 3u], v[first + 3u], sum);
  return (sum.x + sum.y) + (sum.z + sum.w);
}
float sum16(vec4 v[8], uint first) {
  const vec4 sum = (v[first] + v[first + 1u]) + (v[first + 2u] + v[first + 3u]);
  return (sum.x + sum.y) + (sum.z + sum.w);
}
float add_products(float sum, vec4 c[8], vec2 s, vec2 o, vec4 v[8], float half0, float half1) {
  const vec2 scale = s * kLevels;
  sum = fma(scale.x, dot16(c, v, 0u), sum);
  sum = fma(scale.y, dot16(c, v, 4u), sum);
  if (kHasOffset) {
    const vec2 offset = o - kBase * scale;
    sum = fma(offset.x, half0, sum);
    sum = fma(offset.y, half1, sum);
  }
  return sum;
}
