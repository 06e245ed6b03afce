// A row of values ready for products in integers, made by whoever makes the values. Per half group of 16, signed bytes
// (uvec4, half h of group g at h * groups + g); behind them a pair (scale, scale * sum of the bytes) per half, at
// 2 g + h; behind those the sum of squares of each half before it was multiplied by the weight of a norm: whoever
// multiplies adds them up, and applies the norm's scale to its results.
// Needs RUNNEL_READY (a binding), kReadyRoom (values a workgroup makes at a time).
layout(set = 0, binding = RUNNEL_READY, std430) buffer ReadyWords { uint ready_words[]; };
layout(set = 0, binding = RUNNEL_READY, std430) buffer ReadyPairs { vec2 ready_pairs[]; };
layout(set = 0, binding = RUNNEL_READY, std430) buffer ReadySquares { float ready_squares[]; };
shared float ready_values[kReadyRoom];  // what is stored, written before the barrier before write_ready()

vec4 ready_piece(uint i) {
  return vec4(ready_values[4u * i], ready_values[4u * i + 1u], ready_values[4u * i + 2u], ready_values[4u * i + 3u]);
}

/// Stores values [first, first + count) of a row; both are multiples of 16.
void write_ready(uint groups, uint first, uint count) {
  for (uint i = gl_LocalInvocationID.x; i < count / 4u; i += gl_WorkGroupSize.x) {
    const uint n = first + 4u * i, g = n >> 5, j = n >> 2 & 7u;
    if (g >= groups) return;
    const vec4 v = ready_piece(i);
    const uint half_at = i & ~3u;
    const vec4 a = ready_piece(half_at), b = ready_piece(half_at + 1u);
    const vec4 c = ready_piece(half_at + 2u), d = ready_piece(half_at + 3u);
    const vec4 most = max(max(abs(a), abs(b)), max(abs(c), abs(d)));
    const float largest = max(max(most.x, most.y), max(most.z, most.w));
    const float scale = largest / 127.0, inverse = largest > 0.0 ? 127.0 / largest : 0.0;
    const ivec4 q = ivec4(roundEven(v * inverse));
    ready_words[4u * ((j >> 2) * groups + g) + (j & 3u)] =
        uint(q.x & 255) | uint(q.y & 255) << 8 | uint(q.z & 255) << 16 | uint(q.w) << 24;
    if ((i & 3u) != 0u) continue;
    const vec4 sums = (roundEven(a * inverse) + roundEven(b * inverse)) + (roundEven(c * inverse) + roundEven(d * inverse));
    ready_pairs[4u * groups + (n >> 4)] = vec2(scale, scale * ((sums.x + sums.y) + (sums.z + sums.w)));
  }
}
