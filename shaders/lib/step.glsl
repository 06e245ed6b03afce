// Set 1: what changes from step to step. The same for every shader.
layout(set = 1, binding = 0, std430) readonly buffer StepBuffer {
  int pos, n_tokens, kv_keep, kv_sealed, kv_gap, reserved0, reserved1, reserved2;
  uint words[];  // [state] index of its table; then tables: per page block and word offset
} step;
layout(set = 1, binding = 1, std430) buffer StateBlock { uint words[]; } state_blocks[8];
layout(set = 1, binding = 2, std430) buffer StatusBuffer { uint flags; } status;

const uint kPageTokens = 64u;
const uint kBadTokenId = 1u, kBadExpert = 2u;

int kv_pos() { return step.pos - step.kv_gap; }

/// Block and first word of a page of a state.
uvec2 state_page(uint state, uint page) {
  const uint at = step.words[state] + 2u * page;
  return uvec2(step.words[at], step.words[at + 1u]);
}
/// Rows in use of a value that has `fixed_rows` rows, or so many per token.
uint rows_in_step(uint fixed_rows, uint rows_per_token) {
  return rows_per_token == 0u ? fixed_rows : rows_per_token * uint(step.n_tokens);
}
