//! variants: keys=any
// tile_attention: attention over sinks, tiles of 16 tokens and the newest f16 rows, decoded on the way.
// Work is cut as in attention.comp; a token sees a tile as sealed or as rows by its own place alone. Of a
// long cache it may see only the pages that page_choice.comp has found for the heads of its group.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint kKeyBits = 4;
layout(constant_id = 2) const uint kValueBits = 4;
layout(constant_id = 3) const uint kPages = 0;  // chosen by each query head; 0: all
layout(push_constant) uniform Push {
  uint heads, head_dim, slots, sinks;
  uint recent, window_state, k_state, v_state;
  uint n_heads, streaming0, streaming1, from;
  uint n_parts;
  float scale;
} p;
#include "step.glsl"
#include "half.glsl"
#include "reduce.glsl"
#include "spans.glsl"
layout(set = 0, binding = 0, std430) readonly buffer Q { float q[]; };
layout(set = 0, binding = 1, std430) readonly buffer K { float k[]; };
layout(set = 0, binding = 2, std430) readonly buffer V { float v[]; };
layout(set = 0, binding = 3, std430) writeonly buffer Y { float y[]; };
layout(set = 0, binding = 4, std430) writeonly buffer Parts { float parts[]; };  // [T, H, spans, dh + 2]
layout(set = 0, binding = 5, std430) readonly buffer Chosen { uint chosen[]; };  // [T, H, kPages]
float step_row(uint half_index, uint i) { return half_index == 0u ? k[i] : v[i]; }
#include "kv_rows.glsl"
#include "kv_codes.glsl"
#include "kv_heads.glsl"

const float kNone = -3.0e38;
shared float query[256];
shared float weights[kPageTokens];
shared bool seen[gl_WorkGroupSize.x];  // pages of a round

bool is_sealed(int place, int seen_sealed) {
  const int first = place / 16 * 16;
  return first >= int(p.sinks) && first < seen_sealed;
}

float key_dot(uint head, int place, bool sealed, uvec2 page, uvec2 window) {
  float total = 0.0;
  if (!sealed) {
    for (uint d = 0u; d < p.head_dim; ++d)
      total = fma(query[d], row_element(0u, head, place, d, window), total);
    return total;
  }
  const uint parts_per_head = p.head_dim / 64u, token = uint(place) % kPageTokens;
  for (uint part = 0u; part < parts_per_head; ++part) {
    const uint block = page.y + (page_head(head) * parts_per_head + part) * block_words(kKeyBits);
    const uint tile = block + token / 16u * tile_words(kKeyBits);
    float sum = 0.0;
    for (uint d = 0u; d < 64u; ++d)
      sum = fma(query[part * 64u + d], tile_level(page.x, tile, kKeyBits, k_place(token % 16u, d)), sum);
    total = fma(sum, tile_scale(page.x, block, kKeyBits, token), total);
  }
  return total;
}

float value_of(uint head, int place, uint d, bool sealed, uvec2 page, uvec2 window) {
  if (!sealed) return row_element(1u, head, place, d, window);
  const uint token = uint(place) % kPageTokens;
  const uint block = page.y + (page_head(head) * (p.head_dim / 64u) + d / 64u) * block_words(kValueBits);
  const uint tile = block + token / 16u * tile_words(kValueBits);
  return tile_level(page.x, tile, kValueBits, v_place(token % 16u, d % 64u)) *
         tile_scale(page.x, block, kValueBits, token);
}

/// Whether a token sees this page; its group's first list of chosen pages is at `lists`.
bool sees(uint page, uint local, uint lists) {
  if (page == 0u || page >= local) return true;
  for (uint h = 0u; h < p.n_heads / p.heads; ++h) {
    uint low = 0u, high = kPages;
    while (low < high) {
      const uint middle = (low + high) / 2u, at = chosen[lists + h * kPages + middle];
      if (at == page) return true;
      if (at < page) low = middle + 1u;
      else high = middle;
    }
  }
  return false;
}

void main() {
  const uint part = gl_WorkGroupID.x, head = gl_WorkGroupID.y, t = gl_WorkGroupID.z;
  const uint i = gl_LocalInvocationID.x, dh = p.head_dim, kv_head = head / (p.n_heads / p.heads);
  if (t >= uint(step.n_tokens)) return;
  const int place = kv_pos() + int(t), seen_sealed = sealed_before(place);
  const uvec2 span = p.n_parts > 1u ? span_of(place, part) : uvec2(0u, uint(place) + 1u);
  const uint end = min(span.y, uint(place) + 1u);
  if (part > 0u && span.x > uint(place)) return;
  for (uint d = i; d < dh; d += gl_WorkGroupSize.x) query[d] = q[(t * p.n_heads + head) * dh + d];
  barrier();
  const uvec2 window = state_page(p.window_state, 0u);
  const bool streaming = streams(kv_head);
  const bool sparse = !streaming && chooses(place, p.from, kPages);
  const uint lists = (t * p.n_heads + kv_head * (p.n_heads / p.heads)) * kPages;
  float largest = kNone, sum = 0.0, out0 = 0.0, out1 = 0.0;
  for (uint at = span.x; at < end; at += kPageTokens) {
    if (streaming && at >= p.sinks && int(at + kPageTokens) <= seen_sealed) continue;
    if (sparse) {
      const uint of_round = (at - span.x) / kPageTokens % gl_WorkGroupSize.x;
      if (of_round == 0u) {
        barrier();
        seen[i] = sees(at / kPageTokens + i, local_page(place), lists);
        barrier();
      }
      if (!seen[of_round]) continue;
    }
    uvec2 k_page = uvec2(0u), v_page = uvec2(0u);
    if (int(at) < seen_sealed && !streaming) {
      k_page = state_page(p.k_state, at / kPageTokens);
      v_page = state_page(p.v_state, at / kPageTokens);
    }
    const bool mine =
        i < kPageTokens && at + i < end && !(streaming && is_sealed(int(at + i), seen_sealed));
    float score = kNone;
    if (mine) {
      const int key = int(at + i);
      score = p.scale * key_dot(kv_head, key, is_sealed(key, seen_sealed), k_page, window);
    }
    const float grown = max(largest, workgroup_max(score));
    const float weight = mine ? exp(score - grown) : 0.0, shrink = exp(largest - grown);
    if (i < kPageTokens) weights[i] = weight;
    sum = sum * shrink + workgroup_sum(weight);
    largest = grown;
    out0 *= shrink;
    out1 *= shrink;
    for (uint key = 0u; key < min(end - at, kPageTokens); ++key) {
      const int key_place = int(at + key);
      const bool sealed = is_sealed(key_place, seen_sealed);
      if (streaming && sealed) continue;
      if (i < dh) out0 = fma(weights[key], value_of(kv_head, key_place, i, sealed, v_page, window), out0);
      const uint j = i + gl_WorkGroupSize.x;
      if (j < dh) out1 = fma(weights[key], value_of(kv_head, key_place, j, sealed, v_page, window), out1);
    }
    barrier();
  }
  const uint row = t * p.n_heads + head, to = (row * p.n_parts + part) * (dh + 2u);
  for (uint j = 0u; j < 2u; ++j) {
    const uint d = i + j * gl_WorkGroupSize.x;
    if (d >= dh) break;
    if (p.n_parts > 1u) parts[to + d] = j == 0u ? out0 : out1;
    else y[row * dh + d] = (j == 0u ? out0 : out1) / sum;
  }
  if (p.n_parts > 1u && i == 0u) {
    parts[to + dh] = largest;
    parts[to + dh + 1u] = sum;
  }
}
