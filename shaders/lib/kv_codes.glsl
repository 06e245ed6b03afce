// Codes of a tile: layout in quant/kv_tile.h, packing and levels in quant/kv_kt*.cc.
const float kLevels4[8] = float[](6.0, 18.0, 31.0, 44.0, 58.0, 75.0, 96.0, 127.0);
const float kLevels3[8] = float[](14.0, 45.0, 79.0, 127.0, 0.0, 0.0, 0.0, 0.0);
const float kLevels2[8] = float[](38.0, 127.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0);

float level_of(uint bits, uint i) { return bits == 4u ? kLevels4[i] : bits == 3u ? kLevels3[i] : kLevels2[i]; }
/// Levels of one sign.
uint n_levels(uint bits) { return 1u << (bits - 1u); }

uint k_place(uint token, uint channel) { return 64u * (channel / 4u) + 4u * token + channel % 4u; }
uint v_place(uint token, uint channel) {
  return 64u * (4u * (channel / 16u) + token / 4u) + 4u * (channel % 16u) + token % 4u;
}
uint tile_words(uint bits) { return 32u * bits; }
uint block_words(uint bits) { return 4u * tile_words(bits) + 32u; }

uint plane_code(uint block, uint first, uint bits, uint place) {
  const uint per = 8u / bits, vector = place / 64u, at = vector / per * 64u + place % 64u;
  const uint w = state_blocks[block].words[first + at / 4u];
  return bitfieldExtract(w, int(8u * (at & 3u) + vector % per * bits), int(bits));
}
/// Level of the code at `place` of the tile whose codes begin at word `first`.
float tile_level(uint block, uint first, uint bits, uint place) {
  if (bits == 8u) {
    const uint w = state_blocks[block].words[first + place / 4u];
    return float(int(w << (24u - 8u * (place & 3u))) >> 24);
  }
  uint code = bits == 4u ? plane_code(block, first, 4u, place) : plane_code(block, first, 2u, place);
  if (bits == 3u) code |= plane_code(block, first + 64u, 1u, place) << 2;
  const uint n = n_levels(bits);
  return code >= n ? level_of(bits, code - n) : -level_of(bits, n - 1u - code);
}
/// Scale of a token of a block (0 .. 63).
float tile_scale(uint block, uint first_word, uint bits, uint token) {
  const uint w = state_blocks[block].words[first_word + 4u * tile_words(bits) + token / 2u];
  return f16_to_f32((token & 1u) == 0u ? w & 0xFFFFu : w >> 16);
}
