//! variants: pages=best
// Sparse tile_attention: the kPages pages with the largest bounds of a query head's scores, in ascending
// order. A workgroup per (query head, token); a thread per page: the best so far and the pages of a
// round go to their ranks among both, so that among equals the earlier page stays first.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint kPages = 16;  // at most 8 per thread
layout(push_constant) uniform Push {
  uint n_heads, heads, head_dim, recent;
  uint summary_state, from, streaming0, streaming1;
} p;
#include "step.glsl"
#include "half.glsl"
#include "exact.glsl"
#include "kv_heads.glsl"
#include "kv_sealed.glsl"
layout(set = 0, binding = 0, std430) readonly buffer Q { float q[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Chosen { uint chosen[]; };  // [T, H, kPages]

const float kShare = 0.25;  // kKvRadiusShare of quant/kv_sparse.h
const uint kMostEach = 8u;
shared float query[256];
shared float offered[gl_WorkGroupSize.x];
shared float best[kPages];  // descending
shared uint best_page[kPages];

/// How far a score may be above that of the mean, in radii. The order of reference's dot().
float reach_of_query() {
  float lanes[16];
  for (uint j = 0u; j < 16u; ++j) lanes[j] = 0.0;
  for (uint d = 0u; d < p.head_dim; ++d) {
    precise const float squared = query[d] * query[d];
    precise const float grown = lanes[d % 16u] + squared;
    lanes[d % 16u] = grown;
  }
  float sum = 0.0;
  for (uint j = 0u; j < 16u; ++j) {
    precise const float grown = sum + lanes[j];
    sum = grown;
  }
  return kShare * exact_sqrt(sum);
}

float bound_of(uint page, uint head, float reach) {
  const uvec2 at = state_page(p.summary_state, page);
  const uint first = at.y + page_head(head) * (p.head_dim + 32u) / 2u;
  float total = 0.0;
  for (uint d = 0u; d < p.head_dim; d += 2u) {
    const uint w = state_blocks[at.x].words[first + d / 2u];
    precise const float low = query[d] * f16_to_f32(w & 0xFFFFu);
    precise const float high = query[d + 1u] * f16_to_f32(w >> 16);
    precise const float first_sum = total + low;
    precise const float both = first_sum + high;
    total = both;
  }
  const float radius = f16_to_f32(state_blocks[at.x].words[first + p.head_dim / 2u] & 0xFFFFu);
  precise const float above = reach * radius;
  precise const float bound = total + above;
  return isnan(bound) ? uintBitsToFloat(0xFF800000u) : bound;
}

/// How many of the n best a page with this bound comes behind: all of them are earlier.
uint n_before(float bound, uint n) {
  uint low = 0u, high = n;
  while (low < high) {
    const uint middle = (low + high) / 2u;
    if (best[middle] >= bound) low = middle + 1u;
    else high = middle;
  }
  return low;
}

void main() {
  const uint head = gl_WorkGroupID.x, t = gl_WorkGroupID.y, i = gl_LocalInvocationID.x;
  const uint n_threads = gl_WorkGroupSize.x, kv_head = head / (p.n_heads / p.heads);
  if (t >= uint(step.n_tokens)) return;
  const int place = kv_pos() + int(t);
  if (!chooses(place, p.from, kPages) || streams(kv_head)) return;
  const uint row = t * p.n_heads + head, end = local_page(place);
  for (uint d = i; d < p.head_dim; d += n_threads) query[d] = q[row * p.head_dim + d];
  barrier();
  const float reach = reach_of_query();
  uint n_best = 0u;
  for (uint first = 1u; first < end; first += n_threads) {
    const uint page = first + i, n_new = min(n_threads, end - first);
    const bool mine = i < n_new;
    const float bound = mine ? bound_of(page, kv_head, reach) : 0.0;
    offered[i] = bound;
    barrier();
    float old[kMostEach];
    uint old_page[kMostEach], old_to[kMostEach];
    for (uint e = 0u; e < kMostEach; ++e) {
      const uint at = i + e * n_threads;
      old_to[e] = kPages;
      if (at >= n_best) continue;
      old[e] = best[at];
      old_page[e] = best_page[at];
      old_to[e] = at;
      for (uint j = 0u; j < n_new; ++j) old_to[e] += uint(offered[j] > old[e]);
    }
    uint to = kPages;
    if (mine) {
      to = n_before(bound, n_best);
      for (uint j = 0u; j < n_new; ++j)
        to += uint(offered[j] > bound || (offered[j] == bound && j < i));
    }
    barrier();
    for (uint e = 0u; e < kMostEach; ++e)
      if (old_to[e] < kPages) {
        best[old_to[e]] = old[e];
        best_page[old_to[e]] = old_page[e];
      }
    if (to < kPages) {
      best[to] = bound;
      best_page[to] = page;
    }
    n_best = min(kPages, n_best + n_new);
    barrier();
  }
  for (uint at = i; at < kPages; at += n_threads) {
    uint to = 0u;
    for (uint j = 0u; j < kPages; ++j) to += uint(best_page[j] < best_page[at]);
    chosen[row * kPages + to] = best_page[at];
  }
}
