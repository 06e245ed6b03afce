//! variants: page=f16,f32
// kv_append: stores k and v of each token >= kv_keep in its pages [G][64][dh]. A thread writes one word;
// a word of f16 holds two channels (rows of odd length: of two tokens), so a thread goes by words of a
// token's row where they are whole, else it writes halves one token after the other.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint heads, head_dim, k_state, v_state; } p;
#include "step.glsl"
#include "half.glsl"
layout(set = 0, binding = 0, std430) readonly buffer K { float k[]; };
layout(set = 0, binding = 1, std430) readonly buffer V { float v[]; };

float read_row(uint which, uint i) { return which == 0u ? k[i] : v[i]; }

void main() {
  const uint which = gl_WorkGroupID.z, state = which == 0u ? p.k_state : p.v_state;
  const int first = max(0, step.kv_keep - step.kv_gap - kv_pos());
  const uint cols = p.heads * p.head_dim;
#ifdef RUNNEL_PAGE_f32
  const uint t = gl_WorkGroupID.y, c = gl_GlobalInvocationID.x;
  if (int(t) < first || t >= uint(step.n_tokens) || c >= cols) return;
  const uint place = uint(kv_pos()) + t, head = c / p.head_dim;
  const uvec2 page = state_page(state, place / kPageTokens);
  state_blocks[page.x].words[page.y + (head * kPageTokens + place % kPageTokens) * p.head_dim +
                             c % p.head_dim] = floatBitsToUint(read_row(which, t * cols + c));
#else
  if ((p.head_dim & 1u) == 0u) {
    const uint t = gl_WorkGroupID.y, c = 2u * gl_GlobalInvocationID.x;
    if (int(t) < first || t >= uint(step.n_tokens) || c >= cols) return;
    const uint place = uint(kv_pos()) + t, head = c / p.head_dim;
    const uvec2 page = state_page(state, place / kPageTokens);
    const uint at = (head * kPageTokens + place % kPageTokens) * p.head_dim + c % p.head_dim;
    state_blocks[page.x].words[page.y + at / 2u] = f32_to_f16(read_row(which, t * cols + c)) |
                                                   f32_to_f16(read_row(which, t * cols + c + 1u)) << 16;
    return;
  }
  // Two tokens share words: one thread writes all tokens of a head, one after the other.
  const uint head = gl_GlobalInvocationID.x;
  if (gl_WorkGroupID.y > 0u || head >= p.heads) return;
  for (int t = first; t < step.n_tokens; ++t) {
    const uint place = uint(kv_pos() + t);
    const uvec2 page = state_page(state, place / kPageTokens);
    for (uint i = 0u; i < p.head_dim; ++i) {
      const uint at = (head * kPageTokens + place % kPageTokens) * p.head_dim + i;
      const uint word = page.y + at / 2u, shift = 16u * (at & 1u);
      const uint h = f32_to_f16(read_row(which, uint(t) * cols + head * p.head_dim + i));
      state_blocks[page.x].words[word] = state_blocks[page.x].words[word] & ~(0xFFFFu << shift) | h << shift;
    }
  }
#endif
}
