//! variants: of=keys
// kv_summary: the mean and the radius of a head's 64 keys in each page whose last tile the step has
// sealed. A workgroup per (page, head): its 64 threads are channels for the means, keys for the radius.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 64) in;
layout(constant_id = 1) const uint kBits = 4;
layout(push_constant) uniform Push { uint head_dim, recent, state, summary_state; } p;
#include "step.glsl"
#include "half.glsl"
#include "exact.glsl"
#include "kv_codes.glsl"
#include "kv_sealed.glsl"
shared float mean[64];
shared float square[64];
shared uint halves[320];  // f16: head_dim + 32

float key_at(uvec2 page, uint block, uint token, uint channel) {
  const uint tile = block + token / 16u * tile_words(kBits);
  precise const float key =
      tile_level(page.x, tile, kBits, k_place(token % 16u, channel)) * tile_scale(page.x, block, kBits, token);
  return key;
}

void main() {
  const uint i = gl_LocalInvocationID.x, head = gl_WorkGroupID.y, parts = p.head_dim / 64u;
  const uint n_values = p.head_dim + 32u;
  const uint end = uint(sealed_before(kv_pos() + step.n_tokens - 1)) / kPageTokens;
  const uint begin = uint(max(step.kv_sealed - step.kv_gap, 0)) / kPageTokens;
  for (uint number = max(begin, 1u) + gl_WorkGroupID.x; number < end; number += gl_NumWorkGroups.x) {
    const uvec2 page = state_page(p.state, number), to = state_page(p.summary_state, number);
    float total = 0.0;
    for (uint part = 0u; part < parts; ++part) {
      const uint block = page.y + (head * parts + part) * block_words(kBits);
      float sum = 0.0;
      for (uint t = 0u; t < 64u; ++t) {
        precise const float grown = sum + key_at(page, block, t, i);
        sum = grown;
      }
      mean[i] = sum / 64.0;
      halves[part * 64u + i] = f32_to_f16(mean[i]);
      barrier();
      for (uint c = 0u; c < 64u; ++c) {
        precise const float off = key_at(page, block, i, c) - mean[c];
        precise const float squared = off * off;
        precise const float grown = total + squared;
        total = grown;
      }
      barrier();
    }
    square[i] = total;
    if (i < 32u) halves[p.head_dim + i] = 0u;
    barrier();
    if (i == 0u) {
      float most = 0.0;
      for (uint t = 0u; t < 64u; ++t) most = max(most, square[t]);
      halves[p.head_dim] = f32_to_f16(exact_sqrt(most));
    }
    barrier();
    for (uint w = i; w < n_values / 2u; w += 64u)
      state_blocks[to.x].words[to.y + head * n_values / 2u + w] = halves[2u * w] | halves[2u * w + 1u] << 16;
    barrier();
  }
}
