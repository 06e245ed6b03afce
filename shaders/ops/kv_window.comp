//! variants: rows=f16
// kv_window: keeps the newest rows of the step >= kv_keep, and the first ones as sinks. A thread writes
// one word, two channels.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint heads, head_dim, slots, sinks, recent, window_state; } p;
#include "step.glsl"
#include "half.glsl"
layout(set = 0, binding = 0, std430) readonly buffer K { float k[]; };
layout(set = 0, binding = 1, std430) readonly buffer V { float v[]; };
float step_row(uint half_index, uint i) { return half_index == 0u ? k[i] : v[i]; }
#include "kv_rows.glsl"

void main() {
  const uint c = 2u * gl_GlobalInvocationID.x, t = gl_WorkGroupID.y, half_index = gl_WorkGroupID.z;
  if (c >= p.heads * p.head_dim || t >= uint(step.n_tokens)) return;
  const int place = kv_pos() + int(t), end = kv_pos() + step.n_tokens;
  if (place < split_place()) return;
  if (place >= int(p.sinks) && place < end - int(p.slots - kSinkSlots)) return;  // overwritten by later ones
  const uvec2 window = state_page(p.window_state, 0u);
  const uint at = t * p.heads * p.head_dim + c;
  state_blocks[window.x].words[window.y + window_word(half_index, c / p.head_dim, place, c % p.head_dim)] =
      f32_to_f16(step_row(half_index, at)) | f32_to_f16(step_row(half_index, at + 1u)) << 16;
}
