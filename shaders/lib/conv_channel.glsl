// A channel of a short convolution (short_conv.comp) of one token, whose product makes B, C and x itself: out = C *
// (sum over taps of filter * B x (+ bias)). Needs p.taps, p.columns, p.state, p.n (channels), RUNNEL_FILTER.
#include "step.glsl"
layout(set = 0, binding = RUNNEL_FILTER, std430) readonly buffer Filter { float filters[]; };
const uint kFilterStride = 32u;  // rows of short matrices are padded to a group

uint conv_slot(int pos, uint c) { return uint(pos) % p.columns * p.n + c; }

// What ask_conv() found: the sum over earlier tokens, the tap of this one, the ring's place.
float conv_past = 0.0, conv_tap = 0.0;
uvec2 conv_ring = uvec2(0u);

/// Asks for what channel c needs besides the products: a chain of reads, best begun early.
void ask_conv(uint c) {
  conv_ring = state_page(p.state, 0u);
  conv_past = 0.0;
  for (uint k = 0u; k + 1u < p.taps; ++k) {
    const int source = step.pos - int(p.taps - 1u) + int(k);
    if (source >= 0)
      conv_past += filters[c * kFilterStride + k] *
                   uintBitsToFloat(state_blocks[conv_ring.x].words[conv_ring.y + conv_slot(source, c)]);
  }
  conv_tap = filters[c * kFilterStride + p.taps - 1u];
}
/// The channel's result; keeps this token's product in the ring.
float conv_channel(uint c, vec3 bcx, float bias_c) {
  const float kept = bcx.x * bcx.z;
  state_blocks[conv_ring.x].words[conv_ring.y + conv_slot(step.pos, c)] = floatBitsToUint(kept);
  return bcx.y * (conv_past + conv_tap * kept + bias_c);
}
