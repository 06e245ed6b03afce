//! variants: heads=64,128
// The attention of one token with all that stands around it: rope (with or without the norm of each head) of q and k,
// kv_append, attention_row and attention_merge in one dispatch, in the same order of additions. A workgroup per (span
// of keys, KV head); the one of the last span makes the token's own key and value. Of several spans, whoever finishes
// last adds them up, the first one first. The result may be made ready for the next product.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
layout(local_size_x = 128) in;
layout(constant_id = 1) const uint kGroup = 4;  // query heads per KV head
layout(push_constant) uniform Push {
  uint n_heads, k_state, v_state, window;
  float scale;
  uint n_pairs, interleaved, has_norm;
  float eps;
  uint makes_ready, ready_groups;
} p;
#include "step.glsl"
#include "spans.glsl"
#include "half.glsl"
#include "angle.glsl"
layout(set = 1, binding = 1, std430) buffer StateBlock16 { uvec4 words[]; } state_blocks16[8];
layout(set = 0, binding = 0, std430) readonly buffer Q { float q[]; };
layout(set = 0, binding = 1, std430) readonly buffer K { float k[]; };
layout(set = 0, binding = 2, std430) readonly buffer V { float v[]; };
layout(set = 0, binding = 3, std430) writeonly buffer Y { float y[]; };
layout(set = 0, binding = 4, std430) coherent buffer Parts { float parts[]; };       // [H, spans, dh + 2]
layout(set = 0, binding = 5, std430) coherent buffer Finished { uint finished[]; };  // per KV head; 0 between steps
layout(set = 0, binding = 6, std430) readonly buffer Speeds { uvec2 speed[]; };
layout(set = 0, binding = 7, std430) readonly buffer QNorm { float q_norm[]; };
layout(set = 0, binding = 8, std430) readonly buffer KNorm { float k_norm[]; };
#ifdef RUNNEL_HEADS_64
const uint kDim = 64u;
#else
const uint kDim = 128u;
#endif
const uint kReadyRoom = kGroup * kDim;
#define RUNNEL_READY 9
#include "ready.glsl"
const uint kPairs = kDim / 2u, kSlices = 128u / kPairs, kKeysPerSlice = 64u / kSlices;
const float kNone = -3.0e38;
shared float query[kGroup * kDim];
shared float own_key[kDim];
shared uint own_k[kPairs], own_v[kPairs];  // the token's, as they lie in a page
shared float scores[kGroup * 64u];
shared float shrink[kGroup];
shared float largest[kGroup];
shared float sums[kGroup];
shared vec2 outs[128u * kGroup];
shared uint is_last;

float head_value(uint head, uint i) { return head < p.n_heads ? q[head * kDim + i] : k[(head - p.n_heads) * kDim + i]; }
float head_weight(uint head, uint i) { return head < p.n_heads ? q_norm[i] : k_norm[i]; }
void put(uint to, uint i, float value) {
  if (to < kGroup) query[to * kDim + i] = value;
  else own_key[i] = value;
}

/// A subgroup norms and turns one head: of q, or behind those, of k.
void turn_head(uint head, uint to) {
  float scale = 1.0;
  if (p.has_norm != 0u) {
    float squares = 0.0;
    for (uint i = gl_SubgroupInvocationID; i < kDim; i += gl_SubgroupSize) {
      const float x = head_value(head, i);
      squares += x * x;
    }
    scale = 1.0 / sqrt(subgroupAdd(squares) / float(kDim) + p.eps);
  }
  for (uint i = gl_SubgroupInvocationID; i < p.n_pairs; i += gl_SubgroupSize) {
    const uint one = p.interleaved != 0u ? 2u * i : i, two = p.interleaved != 0u ? 2u * i + 1u : i + p.n_pairs;
    vec2 x = vec2(head_value(head, one), head_value(head, two));
    if (p.has_norm != 0u) x = x * scale * vec2(head_weight(head, one), head_weight(head, two));
    const vec2 turn = cosine_sine(uint(step.pos), speed[i]);
    put(to, one, x.x * turn.x - x.y * turn.y);
    put(to, two, x.y * turn.x + x.x * turn.y);
  }
  for (uint i = 2u * p.n_pairs + gl_SubgroupInvocationID; i < kDim; i += gl_SubgroupSize) {
    const float x = head_value(head, i);
    put(to, i, p.has_norm != 0u ? x * scale * head_weight(head, i) : x);
  }
}

/// The token's key and value become words of its page, and of shared memory: others of this workgroup read those.
void append(uint kv_head, uint place) {
  for (uint i = gl_LocalInvocationID.x; i < kDim; i += 128u) {
    const uint which = i / kPairs, c = i % kPairs;
    const uint from = kv_head * kDim + 2u * c;
    const vec2 pair = which == 0u ? vec2(own_key[2u * c], own_key[2u * c + 1u]) : vec2(v[from], v[from + 1u]);
    const uint word = f32_to_f16(pair.x) | f32_to_f16(pair.y) << 16;
    if (which == 0u) own_k[c] = word;
    else own_v[c] = word;
    const uvec2 page = state_page(which == 0u ? p.k_state : p.v_state, place / kPageTokens);
    state_blocks[page.x].words[page.y + (kv_head * kPageTokens + place % kPageTokens) * kPairs + c] = word;
  }
}

uvec4 own_words(uint i) { return uvec4(own_k[4u * i], own_k[4u * i + 1u], own_k[4u * i + 2u], own_k[4u * i + 3u]); }
vec4 query4(uint i) { return vec4(query[i], query[i + 1u], query[i + 2u], query[i + 3u]); }

/// `own`: the key in shared memory; none: larger than any.
void score_keys(uint i, uvec2 page, uint kv_head, uint from, uint to, uint own) {
  const uint key = i >> 1, half_dim = i & 1u;
  float total[kGroup];
  [[unroll]] for (uint h = 0u; h < kGroup; ++h) total[h] = 0.0;
  const uint at = (page.y + (kv_head * 64u + key) * kPairs) / 4u + half_dim * (kDim / 16u);
  [[unroll]] for (uint j = 0u; j < kDim / 16u; ++j) {
    uvec4 k8 = state_blocks16[page.x].words[at + j];
    if (key == own) k8 = own_words(half_dim * (kDim / 16u) + j);
    const vec4 a = vec4(unpackHalf2x16(k8.x), unpackHalf2x16(k8.y));
    const vec4 b = vec4(unpackHalf2x16(k8.z), unpackHalf2x16(k8.w));
    [[unroll]] for (uint h = 0u; h < kGroup; ++h) {
      const uint from_q = h * kDim + half_dim * (kDim / 2u) + 8u * j;
      total[h] += dot(a, query4(from_q)) + dot(b, query4(from_q + 4u));
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

/// Where a span's sums lie: kDim of them, the largest score, and the sum of weights.
uint part_at(uint head, uint part) { return (head * kMaxSpans + part) * (kDim + 2u); }

/// Result e of the workgroup's heads, from all its spans. scores and outs hold their largest scores and sums.
float merged(uint e, uint first_head, uint n) {
  const uint h = e / kDim;
  float most = uintBitsToFloat(0xFF800000u), total = 0.0, sum = 0.0;
  for (uint s = 0u; s < n; ++s)
    if (outs[h * 64u + s].x > 0.0) most = max(most, scores[h * 64u + s]);
  for (uint s = 0u; s < n; ++s) {
    if (!(outs[h * 64u + s].x > 0.0)) continue;  // a window's keys are all in later spans
    const float weight = exp(scores[h * 64u + s] - most);
    total = fma(weight, parts[part_at(first_head + h, s) + e % kDim], total);
    sum = fma(weight, outs[h * 64u + s].x, sum);
  }
  return total / sum;
}

/// True for the last workgroup of a KV head: all spans' sums are there.
bool all_finished(uint kv_head, uint n) {
  memoryBarrierBuffer();
  barrier();
  if (gl_LocalInvocationID.x == 0u) is_last = uint(atomicAdd(finished[kv_head], 1u) == n - 1u);
  barrier();
  memoryBarrierBuffer();
  return is_last != 0u;
}

void main() {
  const uint part = gl_WorkGroupID.x, kv_head = gl_WorkGroupID.y, i = gl_LocalInvocationID.x;
  const int place = kv_pos();
  const uint n = n_spans(place), first_head = kv_head * kGroup;
  if (part >= n) return;
  const bool has_token = part + 1u == n;
  for (uint h = gl_SubgroupID; h < kGroup + (has_token ? 1u : 0u); h += gl_NumSubgroups)
    turn_head(h < kGroup ? first_head + h : p.n_heads + kv_head, h);
  if (i < kGroup) {
    largest[i] = kNone;
    sums[i] = 0.0;
  }
  barrier();
  const bool appends = has_token && place >= step.kv_keep - step.kv_gap;  // else its page has them
  if (appends) append(kv_head, uint(place));
  barrier();
  const uvec2 span = span_of(place, part);
  const uint first_key = max(p.window > 0u ? uint(max(0, place + 1 - int(p.window))) : 0u, span.x);
  const uint end = min(span.y, uint(place) + 1u);
  vec2 out_pair[kGroup];
  [[unroll]] for (uint h = 0u; h < kGroup; ++h) out_pair[h] = vec2(0.0);
  const uint pair = i % kPairs, slice = i / kPairs;
  for (uint at = first_key / 64u * 64u; at < end; at += 64u) {
    const uint from = max(at, first_key) - at, to = min(end - at, 64u);
    const uint own = appends && uint(place) >= at ? uint(place) - at : 0xFFFFFFFFu;
    score_keys(i, state_page(p.k_state, at / 64u), kv_head, from, to, own);
    weigh();
    const uvec2 page = state_page(p.v_state, at / 64u);
    [[unroll]] for (uint h = 0u; h < kGroup; ++h) out_pair[h] *= shrink[h];
    const uint last = min(to, (slice + 1u) * kKeysPerSlice);
    for (uint key = max(from, slice * kKeysPerSlice); key < last; ++key) {
      uint word = state_blocks[page.x].words[page.y + (kv_head * 64u + key) * kPairs + pair];
      if (key == own) word = own_v[pair];
      const vec2 v2 = unpackHalf2x16(word);
      [[unroll]] for (uint h = 0u; h < kGroup; ++h) out_pair[h] = fma(vec2(scores[h * 64u + key]), v2, out_pair[h]);
    }
    barrier();
  }
  [[unroll]] for (uint h = 0u; h < kGroup; ++h) outs[i * kGroup + h] = out_pair[h];
  barrier();
  for (uint e = i; e < kGroup * kPairs; e += 128u) {
    const uint h = e / kPairs, c = e % kPairs;
    vec2 total = vec2(0.0);
    [[unroll]] for (uint s = 0u; s < kSlices; ++s) total += outs[(s * kPairs + c) * kGroup + h];
    if (n == 1u) {
      ready_values[2u * e] = total.x / sums[h];
      ready_values[2u * e + 1u] = total.y / sums[h];
      continue;
    }
    const uint to = part_at(first_head + h, part);
    parts[to + 2u * c] = total.x;
    parts[to + 2u * c + 1u] = total.y;
    if (c == 0u) {
      parts[to + kDim] = largest[h];
      parts[to + kDim + 1u] = sums[h];
    }
  }
  if (n > 1u) {
    if (!all_finished(kv_head, n)) return;
    for (uint e = i; e < kGroup * n; e += 128u) {
      const uint h = e / n, s = e % n, from = part_at(first_head + h, s) + kDim;
      scores[h * 64u + s] = parts[from];
      outs[h * 64u + s].x = parts[from + 1u];
    }
    barrier();
    for (uint e = i; e < kGroup * kDim; e += 128u) ready_values[e] = merged(e, first_head, n);
    if (i == 0u) finished[kv_head] = 0u;
  }
  barrier();
  for (uint e = i; e < kGroup * kDim; e += 128u) y[first_head * kDim + e] = ready_values[e];
  if (p.makes_ready != 0u) write_ready(p.ready_groups, first_head * kDim, kGroup * kDim);
}
