//! variants: role=k,v
// kv_seal: encodes the tiles of 16 tokens that the step's last token sees as tiles, from their f16 rows
// alone. A workgroup of 16 threads per (tile, head and part of 64 channels); a thread per token, in the
// order of quant/kv_search.cc, so that the bits are the same.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 16) in;
layout(constant_id = 1) const uint kBits = 4;
layout(push_constant) uniform Push {
  uint heads, head_dim, slots, sinks;
  uint recent, window_state, state;
  uint streaming0, streaming1;
} p;
#include "step.glsl"
#include "half.glsl"
#include "exact.glsl"
layout(set = 0, binding = 0, std430) readonly buffer Rows { float rows[]; };
float step_row(uint half_index, uint i) { return rows[i]; }
#include "kv_rows.glsl"
#include "kv_codes.glsl"
#include "kv_heads.glsl"
#ifdef RUNNEL_ROLE_k
const uint kHalf = 0u;
#else
const uint kHalf = 1u;
#endif
const float kSpreads[6] = float[](0.76, 0.86, 0.96, 1.06, 1.18, 1.34);
const float kLargest = 65504.0;
shared uint codes[1024];
shared uint scales[16];
shared float tile[1024];

uint place_of(uint token, uint channel) {
#ifdef RUNNEL_ROLE_k
  return k_place(token, channel);
#else
  return v_place(token, channel);
#endif
}

float halves(float lanes[16]) {
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) {
      precise const float sum = lanes[i] + lanes[i + width];
      lanes[i] = sum;
    }
  return lanes[0];
}

float magnitude(uint i) {
  const float size = abs(tile[i]);
  return size < kLargest ? size : kLargest;  // NaN too
}

uint nearest(float at) {
  uint index = 0u;
  for (uint l = 0u; l + 1u < n_levels(kBits); ++l)
    index += uint(at >= 0.5 * (level_of(kBits, l) + level_of(kBits, l + 1u)));
  return index;
}

/// Sum of level * magnitude, and of level^2, when the levels are spread by 1 / scale.
vec2 fit(uint first, float scale) {
  float lanes[16];
  for (int i = 0; i < 16; ++i) lanes[i] = 0.0;
  float squares = 0.0;
  for (uint i = 0u; i < 64u; ++i) {
    precise const float at = magnitude(first + i) * scale;
    const float level = level_of(kBits, nearest(at));
    precise const float product = level * magnitude(first + i);
    precise const float sum = lanes[i % 16u] + product;
    lanes[i % 16u] = sum;
    squares += level * level;
  }
  return vec2(halves(lanes), squares);
}

void encode_levels(uint token) {
  const uint first = 64u * token;
  const float unit = kBits == 4u ? 2.733 : kBits == 3u ? 2.1519 : 1.5104;
  float lanes[16];
  for (int i = 0; i < 16; ++i) lanes[i] = 0.0;
  for (uint i = 0u; i < 64u; ++i) {
    precise const float square = magnitude(first + i) * magnitude(first + i);
    precise const float sum = lanes[i % 16u] + square;
    lanes[i % 16u] = sum;
  }
  const float rms = exact_sqrt(halves(lanes) / 64.0);
  float most = -1.0, best_step = 0.0;
  vec2 best = vec2(0.0, 1.0);
  if (rms > 0.0)
    for (int s = 0; s < 6; ++s) {
      precise const float wide = rms * kSpreads[s];
      precise const float spread = unit * wide;
      const float tried_step = exact_divide(127.0, spread);
      const vec2 tried = fit(first, tried_step);
      precise const float squared = tried.x * tried.x;
      const float gain = exact_divide(squared, tried.y);
      if (!(gain > most)) continue;
      most = gain;
      best = tried;
      best_step = tried_step;
    }
  scales[token] = f32_to_f16(min(exact_divide(best.x, best.y), kLargest));
  const uint n = n_levels(kBits);
  for (uint i = 0u; i < 64u; ++i) {
    precise const float at = magnitude(first + i) * best_step;
    const uint index = nearest(at);
    codes[place_of(token, i)] = tile[first + i] < 0.0 ? n - 1u - index : n + index;
  }
}

float finite(float x) {
  const float above = x > -kLargest ? x : -kLargest;  // NaN too
  return above < kLargest ? above : kLargest;
}

void encode_bytes(uint token) {
  const uint first = 64u * token;
  float most = 0.0;
  for (uint i = 0u; i < 64u; ++i) most = max(most, abs(finite(tile[first + i])));
  scales[token] = f32_to_f16(exact_divide(most, 127.0));
  const float scale = f16_to_f32(scales[token]);
  const float inverse = scale > 0.0 ? exact_divide(1.0, scale) : 0.0;
  for (uint i = 0u; i < 64u; ++i) {
    precise const float at = finite(tile[first + i]) * inverse;
    codes[place_of(token, i)] = uint(int(clamp(roundEven(at), -127.0, 127.0))) & 255u;
  }
}

/// Word `w` of the plane that holds `bits` bits from bit `shift` on of every code.
uint plane_word(uint w, uint bits, uint shift) {
  const uint per = 8u / bits;
  uint word = 0u;
  for (uint part = 0u; part < per; ++part)
    for (uint k = 0u; k < 4u; ++k) {
      const uint code = codes[(w / 16u * per + part) * 64u + 4u * (w % 16u) + k];
      word |= bitfieldExtract(code, int(shift), int(bits)) << (8u * k + part * bits);
    }
  return word;
}

void main() {
  const uint token = gl_LocalInvocationID.x, parts_per_head = p.head_dim / 64u;
  const uint to_head = gl_WorkGroupID.y / parts_per_head, head = head_at(to_head), part = gl_WorkGroupID.y % parts_per_head;
  const int end = sealed_before(kv_pos() + step.n_tokens - 1);
  const int begin = max(step.kv_sealed - step.kv_gap, int(p.sinks));
  const uvec2 window = state_page(p.window_state, 0u);
  for (int first = begin + 16 * int(gl_WorkGroupID.x); first < end; first += 16 * int(gl_NumWorkGroups.x)) {
    for (uint i = 0u; i < 64u; ++i)
      tile[64u * token + i] = row_element(kHalf, head, first + int(token), part * 64u + i, window);
    if (kBits == 8u) encode_bytes(token);
    else encode_levels(token);
    barrier();
    const uvec2 page = state_page(p.state, uint(first) / kPageTokens);
    const uint block = page.y + (to_head * parts_per_head + part) * block_words(kBits);
    const uint index = uint(first) % kPageTokens / 16u, to = block + index * tile_words(kBits);
    const uint low_bits = kBits == 3u ? 2u : kBits, low_words = 32u * low_bits;
    for (uint w = token; w < low_words; w += 16u)
      state_blocks[page.x].words[to + w] = plane_word(w, low_bits, 0u);
    if (kBits == 3u)
      for (uint w = token; w < 32u; w += 16u)
        state_blocks[page.x].words[to + 64u + w] = plane_word(w, 1u, 2u);
    if (token < 8u)
      state_blocks[page.x].words[block + 4u * tile_words(kBits) + index * 8u + token] =
          scales[2u * token] | scales[2u * token + 1u] << 16;
    barrier();
  }
}
