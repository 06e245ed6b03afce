//! variants: page=f16 heads=64,128
// attention for heads of 64 or 128 channels in f16 pages: a workgroup of 128 threads per (span of keys, KV
// head, token) does all query heads of the KV head (8 at most), so that keys and values are read once.
// Scores: two threads per key. Values: a thread per two channels and a quarter (or half) of the keys.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
layout(local_size_x = 128) in;
layout(constant_id = 1) const uint kGroup = 4;  // query heads per KV head
layout(push_constant) uniform Push {
  uint n_heads, group, head_dim, k_state;
  uint v_state, window, n_parts;
  float scale;
} p;
#include "step.glsl"
#include "spans.glsl"
layout(set = 1, binding = 1, std430) buffer StateBlock16 { uvec4 words[]; } state_blocks16[8];
layout(set = 0, binding = 0, std430) readonly buffer Q { float q[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Y { float y[]; };
layout(set = 0, binding = 2, std430) writeonly buffer Parts { float parts[]; };  // [T, H, spans, dh + 2]
#ifdef RUNNEL_HEADS_64
const uint kDim = 64u;
#else
const uint kDim = 128u;
#endif
const uint kPairs = kDim / 2u, kSlices = 128u / kPairs, kKeysPerSlice = 64u / kSlices;
const float kNone = -3.0e38;
shared vec4 query[kGroup * kDim / 4u];
shared float scores[kGroup * 64u];
shared float shrink[kGroup];
shared float largest[kGroup];
shared float sums[kGroup];
shared vec2 outs[128u * kGroup];

void score_keys(uint i, uvec2 page, uint kv_head, uint from, uint to) {
  const uint key = i >> 1, half_dim = i & 1u;
  float total[kGroup];
  [[unroll]] for (uint h = 0u; h < kGroup; ++h) total[h] = 0.0;
  const uint at = (page.y + (kv_head * 64u + key) * kPairs) / 4u + half_dim * (kDim / 16u);
  [[unroll]] for (uint j = 0u; j < kDim / 16u; ++j) {
    const uvec4 k8 = state_blocks16[page.x].words[at + j];
    const vec4 a = vec4(unpackHalf2x16(k8.x), unpackHalf2x16(k8.y));
    const vec4 b = vec4(unpackHalf2x16(k8.z), unpackHalf2x16(k8.w));
    [[unroll]] for (uint h = 0u; h < kGroup; ++h) {
      const uint from_q = h * (kDim / 4u) + half_dim * (kDim / 8u) + 2u * j;
      total[h] += dot(a, query[from_q]) + dot(b, query[from_q + 1u]);
    }
  }
  [[unroll]] for (uint h = 0u; h < kGroup; ++h) outs[i * kGroup + h].x = total[h];
  barrier();
  for (uint e = i; e < kGroup * 64u; e += 128u) {
    const uint h = e / 64u, key_e = e % 64u;
    const bool seen = key_e >= from && key_e < to;
    scores[e] = seen ? p.scale * (outs[2u * key_e * kGroup + h].x + outs[(2u * key_e + 1u) * kGroup + h].x) : kNone;
  }
  barrier();
}

/// Scores become weights; running maximum and sum of each head.
void weigh() {
  for (uint h = gl_SubgroupID; h < kGroup; h += gl_NumSubgroups) {
    float most = kNone, sum = 0.0;
    for (uint e = gl_SubgroupInvocationID; e < 64u; e += gl_SubgroupSize) most = max(most, scores[h * 64u + e]);
    const float before = largest[h], grown = max(before, subgroupMax(most));
    for (uint e = gl_SubgroupInvocationID; e < 64u; e += gl_SubgroupSize) {
      const float weight = exp(scores[h * 64u + e] - grown);
      scores[h * 64u + e] = weight;
      sum += weight;
    }
    sum = subgroupAdd(sum);
    subgroupBarrier();
    if (subgroupElect()) {
      const float less = exp(before - grown);
      shrink[h] = less;
      sums[h] = sums[h] * less + sum;
      largest[h] = grown;
    }
  }
  barrier();
}

void main() {
  const uint part = gl_WorkGroupID.x, kv_head = gl_WorkGroupID.y, t = gl_WorkGroupID.z;
  const uint i = gl_LocalInvocationID.x;
  if (t >= uint(step.n_tokens)) return;
  const int place = kv_pos() + int(t);
  const uvec2 span = p.n_parts > 1u ? span_of(place, part) : uvec2(0u, uint(place) + 1u);
  if (part > 0u && span.x > uint(place)) return;
  const uint first_key = max(p.window > 0u ? uint(max(0, place + 1 - int(p.window))) : 0u, span.x);
  const uint end = min(span.y, uint(place) + 1u), first_head = kv_head * kGroup;
  for (uint e = i; e < kGroup * kDim / 4u; e += 128u) {
    const uint from = (t * p.n_heads + first_head) * kDim + 4u * e;
    query[e] = vec4(q[from], q[from + 1u], q[from + 2u], q[from + 3u]);
  }
  if (i < kGroup) {
    largest[i] = kNone;
    sums[i] = 0.0;
  }
  barrier();
  vec2 out_pair[kGroup];
  [[unroll]] for (uint h = 0u; h < kGroup; ++h) out_pair[h] = vec2(0.0);
  const uint pair = i % kPairs, slice = i / kPairs;
  for (uint at = first_key / 64u * 64u; at < end; at += 64u) {
    const uint from = max(at, first_key) - at, to = min(end - at, 64u);
    score_keys(i, state_page(p.k_state, at / 64u), kv_head, from, to);
    weigh();
    const uvec2 page = state_page(p.v_state, at / 64u);
    [[unroll]] for (uint h = 0u; h < kGroup; ++h) out_pair[h] *= shrink[h];
    const uint last = min(to, (slice + 1u) * kKeysPerSlice);
    for (uint key = max(from, slice * kKeysPerSlice); key < last; ++key) {
      const vec2 v = unpackHalf2x16(state_blocks[page.x].words[page.y + (kv_head * 64u + key) * kPairs + pair]);
      [[unroll]] for (uint h = 0u; h < kGroup; ++h) out_pair[h] = fma(vec2(scores[h * 64u + key]), v, out_pair[h]);
    }
    barrier();
  }
  [[unroll]] for (uint h = 0u; h < kGroup; ++h) outs[i * kGroup + h] = out_pair[h];
  barrier();
  for (uint e = i; e < kGroup * kPairs; e += 128u) {
    const uint h = e / kPairs, c = e % kPairs, row = t * p.n_heads + first_head + h;
    vec2 total = vec2(0.0);
    [[unroll]] for (uint s = 0u; s < kSlices; ++s) total += outs[(s * kPairs + c) * kGroup + h];
    const uint to = (row * p.n_parts + part) * (kDim + 2u);
    if (p.n_parts > 1u) {
      parts[to + 2u * c] = total.x;
      parts[to + 2u * c + 1u] = total.y;
      if (c == 0u) {
        parts[to + kDim] = largest[h];
        parts[to + kDim + 1u] = sums[h];
      }
    } else {
      y[row * kDim + 2u * c] = total.x / sums[h];
      y[row * kDim + 2u * c + 1u] = total.y / sums[h];
    }
  }
}
