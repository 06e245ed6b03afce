// The f16 rows of a tiled cache: the first tokens and the newest ones, in the window, and the rows of
// the step itself. Needs p.heads (KV heads), p.head_dim, p.slots, p.sinks, p.window_state, and
// step_row(half, i). half 0: keys, 1: values. Brings kv_sealed.glsl, which needs p.recent.
const uint kSinkSlots = 16u;

int split_place() { return max(kv_pos(), step.kv_keep - step.kv_gap); }
uint window_slot(int place) {
  return place < int(p.sinks) ? uint(place)
                              : kSinkSlots + uint(place + step.kv_gap) % (p.slots - kSinkSlots);
}
/// Word of a channel (an even one) of a row in the window, counted from the window's first word.
uint window_word(uint half_index, uint head, int place, uint channel) {
  return (((half_index * p.heads + head) * p.slots + window_slot(place)) * p.head_dim + channel) / 2u;
}
float row_element(uint half_index, uint head, int place, uint channel, uvec2 window) {
  if (place >= split_place())
    return step_row(half_index, (uint(place - kv_pos()) * p.heads + head) * p.head_dim + channel);
  const uint w = state_blocks[window.x].words[window.y + window_word(half_index, head, place, channel)];
  return f16_to_f32((channel & 1u) == 0u ? w & 0xFFFFu : w >> 16);
}
#include "kv_sealed.glsl"
