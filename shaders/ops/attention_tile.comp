//! variants: page=f16 heads=64,128
// attention of many tokens without matrix units, heads of 64 or 128 channels in f16 pages: a workgroup of 128
// threads takes 16 rows (tokens times the query heads of a KV head) and walks 32 keys at a time, which wait in
// shared memory for all rows; values take their place after the scores. Scores: a thread has a key and four
// rows. Values: a thread has two channels and every kSlices-th row.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
layout(local_size_x = 128) in;
layout(push_constant) uniform Push {
  uint n_heads, group, head_dim, k_state;
  uint v_state, window;
  float scale;
} p;
#include "step.glsl"
layout(set = 1, binding = 1, std430) buffer StateBlock16 { uvec4 words[]; } state_blocks16[8];
layout(set = 0, binding = 0, std430) readonly buffer Q { vec4 q[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Y { vec2 y[]; };
#ifdef RUNNEL_HEADS_64
const uint kDim = 64u;
#else
const uint kDim = 128u;
#endif
const uint kRows = 16u, kKeys = 32u, kQuads = kDim / 4u, kPairs = kDim / 2u;
const uint kStride = kPairs + 1u;  // of a key, in words: no two keys begin in one bank
const uint kSlices = 128u / kPairs, kOuts = kRows / kSlices;
const float kNone = -3.0e38;
shared vec4 query[kRows * kQuads];
shared uint block[kKeys * kStride];
shared float scores[kRows * kKeys];
shared float parts[kRows * 8u];
shared float largest[kRows];
shared float sums[kRows];
shared float shrink[kRows];

/// 32 keys or values of a KV head from place `at` on, as pairs of f16.
void fetch(uint i, uint state, uint at, uint kv_head) {
  const uvec2 page = state_page(state, at / 64u);
  const uint from = page.y / 4u + (kv_head * 64u + at % 64u) * (kDim / 8u);
  for (uint e = i; e < kKeys * kDim / 8u; e += 128u) {
    const uvec4 eight = state_blocks16[page.x].words[from + e];
    const uint to = e / (kDim / 8u) * kStride + e % (kDim / 8u) * 4u;
    block[to] = eight.x;
    block[to + 1u] = eight.y;
    block[to + 2u] = eight.z;
    block[to + 3u] = eight.w;
  }
}

void main() {
  const uint i = gl_LocalInvocationID.x, kv_head = gl_WorkGroupID.y, n_tokens = uint(step.n_tokens);
  const uint tokens = kRows / p.group, t0 = gl_WorkGroupID.x * tokens;
  if (t0 >= n_tokens) return;
  const uint last_t = min(t0 + tokens, n_tokens) - 1u, start = uint(kv_pos());
  for (uint e = i; e < kRows * kQuads; e += 128u) {
    const uint row = e / kQuads, t = min(t0 + row / p.group, last_t);
    query[e] = q[(t * p.n_heads + kv_head * p.group + row % p.group) * kQuads + e % kQuads] * p.scale;
  }
  if (i < kRows) {
    largest[i] = kNone;
    sums[i] = 0.0;
  }
  vec2 outs[kOuts];
  [[unroll]] for (uint r = 0u; r < kOuts; ++r) outs[r] = vec2(0.0);
  const uint key = i % kKeys, row4 = i / kKeys * 4u, my_row = i / 8u, eighth = i % 8u;
  const uint pair = i % kPairs, slice = i / kPairs;
  const uint first = p.window > 0u && start + t0 + 1u > p.window ? start + t0 + 1u - p.window : 0u;
  const uint my_place = start + min(t0 + my_row / p.group, last_t);
  const uint my_first = p.window > 0u && my_place + 1u > p.window ? my_place + 1u - p.window : 0u;
  for (uint at = first / kKeys * kKeys; at <= start + last_t; at += kKeys) {
    fetch(i, p.k_state, at, kv_head);
    barrier();
    vec4 dots = vec4(0.0);
    for (uint d = 0u; d < kQuads; ++d) {
      const vec4 k = vec4(unpackHalf2x16(block[key * kStride + 2u * d]), unpackHalf2x16(block[key * kStride + 2u * d + 1u]));
      [[unroll]] for (uint r = 0u; r < 4u; ++r) dots[r] += dot(k, query[(row4 + r) * kQuads + d]);
    }
    [[unroll]] for (uint r = 0u; r < 4u; ++r) scores[(row4 + r) * kKeys + key] = dots[r];
    barrier();
    fetch(i, p.v_state, at, kv_head);
    // Scores become weights: eight threads a row, every eighth key each.
    float mine[4], most = kNone;
    [[unroll]] for (uint j = 0u; j < 4u; ++j) {
      const uint place = at + eighth + 8u * j;
      const bool seen = place <= my_place && place >= my_first;
      mine[j] = seen ? scores[my_row * kKeys + eighth + 8u * j] : kNone;
      most = max(most, mine[j]);
    }
    parts[i] = most;
    barrier();
    const float before = largest[my_row];
    float grown = before, sum = 0.0;
    [[unroll]] for (uint j = 0u; j < 8u; ++j) grown = max(grown, parts[my_row * 8u + j]);
    [[unroll]] for (uint j = 0u; j < 4u; ++j) {
      const float weight = mine[j] == kNone ? 0.0 : exp(mine[j] - grown);
      scores[my_row * kKeys + eighth + 8u * j] = weight;
      sum += weight;
    }
    barrier();
    parts[i] = sum;
    barrier();
    if (eighth == 0u) {
      const float less = exp(before - grown);
      float total = sums[my_row] * less;
      [[unroll]] for (uint j = 0u; j < 8u; ++j) total += parts[my_row * 8u + j];
      sums[my_row] = total;
      shrink[my_row] = less;
      largest[my_row] = grown;
    }
    barrier();
    [[unroll]] for (uint r = 0u; r < kOuts; ++r) outs[r] *= shrink[slice + r * kSlices];
    for (uint k = 0u; k < kKeys; ++k) {
      const vec2 v = unpackHalf2x16(block[k * kStride + pair]);
      [[unroll]] for (uint r = 0u; r < kOuts; ++r)
        outs[r] = fma(vec2(scores[(slice + r * kSlices) * kKeys + k]), v, outs[r]);
    }
    barrier();
  }
  [[unroll]] for (uint r = 0u; r < kOuts; ++r) {
    const uint row = slice + r * kSlices, t = t0 + row / p.group;
    if (row < tokens * p.group && t <= last_t)
      y[(t * p.n_heads + kv_head * p.group + row % p.group) * kPairs + pair] = outs[r] / sums[row];
  }
}
