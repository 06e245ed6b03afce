//! variants: page=f16,f32
// attention: softmax(scale * q k^T) v over the pages, online, 64 keys (a page) at a time. A workgroup
// per (span of keys, query head, token). With several spans each writes its weighted values, maximum and
// sum; attention_merge adds them up. Which keys a span holds depends on the token's place alone.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push {
  uint n_heads, group, head_dim, k_state;
  uint v_state, window, n_parts;
  float scale;
} p;
#include "step.glsl"
#include "half.glsl"
#include "reduce.glsl"
#include "spans.glsl"
layout(set = 0, binding = 0, std430) readonly buffer Q { float q[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Y { float y[]; };
layout(set = 0, binding = 2, std430) writeonly buffer Parts { float parts[]; };  // [T, H, spans, dh + 2]

shared float query[256];
shared float weights[kPageTokens];

float element(uvec2 page, uint i) {
#ifdef RUNNEL_PAGE_f32
  return uintBitsToFloat(state_blocks[page.x].words[page.y + i]);
#else
  const uint w = state_blocks[page.x].words[page.y + i / 2u];
  return f16_to_f32((i & 1u) == 0u ? w & 0xFFFFu : w >> 16);
#endif
}

void main() {
  const uint part = gl_WorkGroupID.x, head = gl_WorkGroupID.y, t = gl_WorkGroupID.z;
  const uint i = gl_LocalInvocationID.x, dh = p.head_dim, kv_head = head / p.group;
  if (t >= uint(step.n_tokens)) return;
  const int place = kv_pos() + int(t);
  const uvec2 span = p.n_parts > 1u ? span_of(place, part) : uvec2(0u, uint(place) + 1u);
  uint first_key = p.window > 0u ? uint(max(0, place + 1 - int(p.window))) : 0u;
  first_key = max(first_key, span.x);
  const uint end = min(span.y, uint(place) + 1u);
  if (part > 0u && span.x > uint(place)) return;  // another token's span
  for (uint d = i; d < dh; d += gl_WorkGroupSize.x) query[d] = q[(t * p.n_heads + head) * dh + d];
  barrier();
  float largest = uintBitsToFloat(0xFF800000u), sum = 0.0;
  float out0 = 0.0, out1 = 0.0, out2 = 0.0, out3 = 0.0;  // channels i, i + threads, ...
  for (uint at = first_key / kPageTokens * kPageTokens; at < end; at += kPageTokens) {
    const uvec2 k_page = state_page(p.k_state, at / kPageTokens);
    const uvec2 v_page = state_page(p.v_state, at / kPageTokens);
    float score = uintBitsToFloat(0xFF800000u);
    if (i < kPageTokens && at + i >= first_key && at + i < end) {
      const uint row = (kv_head * kPageTokens + i) * dh;
      float total = 0.0;
      for (uint d = 0u; d < dh; ++d) total = fma(query[d], element(k_page, row + d), total);
      score = total * p.scale;
    }
    const float grown = max(largest, workgroup_max(score));
    const float weight = i < kPageTokens && at + i >= first_key && at + i < end ? exp(score - grown) : 0.0;
    const float shrink = exp(largest - grown);
    if (i < kPageTokens) weights[i] = weight;
    sum = sum * shrink + workgroup_sum(weight);
    largest = grown;
    out0 *= shrink; out1 *= shrink; out2 *= shrink; out3 *= shrink;
    const uint from = max(at, first_key) - at, to = min(end - at, kPageTokens);
    for (uint key = from; key < to; ++key) {
      const uint row = (kv_head * kPageTokens + key) * dh;
      const uint threads = gl_WorkGroupSize.x;
      if (i < dh) out0 = fma(weights[key], element(v_page, row + i), out0);
      if (i + threads < dh) out1 = fma(weights[key], element(v_page, row + i + threads), out1);
      if (i + 2u * threads < dh) out2 = fma(weights[key], element(v_page, row + i + 2u * threads), out2);
      if (i + 3u * threads < dh) out3 = fma(weights[key], element(v_page, row + i + 3u * threads), out3);
    }
    barrier();
  }
  const float outs[4] = float[](out0, out1, out2, out3);
  const uint row = t * p.n_heads + head;
  const uint to = (row * p.n_parts + part) * (dh + 2u);
  for (uint j = 0u; j < 4u; ++j) {
    const uint d = i + j * gl_WorkGroupSize.x;
    if (d >= dh) break;
    if (p.n_parts > 1u)
      parts[to + d] = outs[j];
    else
      y[row * dh + d] = outs[j] / sum;
  }
  if (p.n_parts > 1u && i == 0u) {
    parts[to + dh] = largest;
    parts[to + dh + 1u] = sum;
  }
}
