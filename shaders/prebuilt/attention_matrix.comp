// Compiled by hand: prebuilt/README.md. attention of many tokens on the matrix units: a workgroup of 4
// subgroups takes 64 rows (tokens times the query heads of a KV head) over f16 pages with DIM channels (64,
// 128), a page of 64 keys at a time. Keys, then values, pass through one piece of shared memory, the next
// ones on their way to registers meanwhile. A subgroup has 16 rows: scores in its own shared memory, results
// in its registers; these shrink only when a maximum grew. As in matmul_f16.comp, matrices have names.
// 4*T*H*keys*DIM flops.
#version 450
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_clustered : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 128) in;
layout(push_constant) uniform Push {
  uint n_heads, group, head_dim, k_state;
  uint v_state, window;
  float scale;
} p;
#include "step.glsl"
layout(set = 1, binding = 1, std430) buffer StateBlock16 { uvec4 words[]; } state_blocks16[8];
layout(set = 0, binding = 0, std430) readonly buffer Q { vec4 q[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Y { vec4 y[]; };

const uint kRows = 64u, kPieces = DIM / 8u, kStride = kPieces + 1u;  // pieces of 8 channels
const uint kOwn = 18u;  // pieces from row to row in a subgroup's own memory: no two lanes meet in a bank
const float kNone = -3.0e38;
shared uvec4 block[64u * kStride];
shared uvec4 rows[kRows * kOwn];
shared vec4 spread[4u * 64u];

#define Sum coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator>
#define Left coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseA>
#define Right coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseB>
#define FOR_KEYS(DO) DO(0) DO(1) DO(2) DO(3)
#if DIM == 64
#define FOR_CHANNELS(DO) DO(0) DO(1) DO(2) DO(3)
#else
#define FOR_CHANNELS(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#endif

void sync_own() {
  subgroupMemoryBarrierShared();
  subgroupBarrier();
}
/// First piece of a KV head in the page that holds key `at`.
uvec2 page_at(uint state, uint at, uint kv_head) {
  const uvec2 page = state_page(state, at / 64u);
  return uvec2(page.x, page.y / 4u + kv_head * 64u * kPieces);
}
/// Puts a row of queries into own memory as f16; returns what scores are multiplied with.
float put_queries(uint own, uint lane, uint from) {
  const uint row = lane / 2u, side = lane & 1u;
  float largest = 0.0;
  [[unroll]] for (uint j = 0u; j < DIM / 8u; ++j) {
    const vec4 v = abs(q[from + 2u * j + side]);
    largest = max(largest, max(max(v.x, v.y), max(v.z, v.w)));
  }
  largest = subgroupClusteredMax(largest, 2u);
  const float down = largest > 32768.0 ? 32768.0 / largest : 1.0;
  [[unroll]] for (uint j = 0u; j < DIM / 8u; ++j) {
    const vec4 v = q[from + 2u * j + side] * down;
    rows[own + row * kOwn + j][2u * side] = packHalf2x16(v.xy);
    rows[own + row * kOwn + j][2u * side + 1u] = packHalf2x16(v.zw);
  }
  return p.scale * 1.44269504 / down;  // of base 2
}

// The pieces of main() that are written out for every matrix.
#define BEGIN(J) \
  Left q##J; \
  coopMatLoad(q##J, rows, own + 2u * J, kOwn, gl_CooperativeMatrixLayoutRowMajor); \
  Sum out##J = Sum(0.0); \
  uvec4 next##J;
#define FETCH(J) next##J = state_blocks16[page.x].words[page.y + i + 128u * J];
#define KEEP(J) block[to + 128u / kPieces * J * kStride] = next##J;
#define SCORE(J) \
  coopMatLoad(key, block, 16u * J * kStride + 2u * d, kStride, gl_CooperativeMatrixLayoutColumnMajor); \
  score##J = coopMatMulAdd(left, key, score##J);
#define SCORES(D) \
  { \
    const uint d = D; \
    const Left left = q##D; \
    Right key; \
    FOR_KEYS(SCORE) \
  }
#define STORE(J) coopMatStore(score##J, rows, own + 4u * J, kOwn, gl_CooperativeMatrixLayoutRowMajor);
#define TAKE(J) \
  const uint key##J = at + 4u * (2u * J + side); \
  vec4 s##J = uintBitsToFloat(rows[own + row * kOwn + 2u * J + side]) * scale; \
  if (!all) { \
    const uvec4 keys = key##J + uvec4(0u, 1u, 2u, 3u); \
    const bvec4 seen = bvec4(uvec4(lessThanEqual(keys, uvec4(place))) & uvec4(greaterThanEqual(keys, uvec4(first)))); \
    s##J = mix(vec4(kNone), s##J, seen); \
  } \
  most = max(most, max(max(s##J.x, s##J.y), max(s##J.z, s##J.w)));
#define WEIGH(J) \
  { \
    const vec4 w = exp2(s##J - base); \
    sum += (w.x + w.y) + (w.z + w.w); \
    rows[own + row * kOwn + J][2u * side] = packHalf2x16(w.xy); \
    rows[own + row * kOwn + J][2u * side + 1u] = packHalf2x16(w.zw); \
  }
#define SHRINK(J) out##J = out##J * factors;
#define ADD(D) \
  coopMatLoad(value, block, key_at * kStride + 2u * D, kStride, gl_CooperativeMatrixLayoutRowMajor); \
  out##D = coopMatMulAdd(weight, value, out##D);
#define WEIGHTED(J) \
  { \
    const uint key_at = 16u * J; \
    Left weight; \
    Right value; \
    coopMatLoad(weight, rows, own + 2u * J, kOwn, gl_CooperativeMatrixLayoutRowMajor); \
    FOR_CHANNELS(ADD) \
  }
#define PUT(J) coopMatStore(out##J, rows, own + 4u * (J % 4u), kOwn, gl_CooperativeMatrixLayoutRowMajor);
#define WRITE(FIRST) \
  sync_own(); \
  if (exists) \
    [[unroll]] for (uint j = 0u; j < 8u; ++j) \
      y[row_at + FIRST + 2u * j + side] = \
          uintBitsToFloat(rows[own + row * kOwn + 2u * j + side]) * divided; \
  sync_own();

void main() {
  const uint i = gl_LocalInvocationID.x, lane = gl_SubgroupInvocationID, kv_head = gl_WorkGroupID.y;
  const uint tokens = kRows / p.group;
  const uint t0 = (gl_NumWorkGroups.x - 1u - gl_WorkGroupID.x) * tokens;  // those with most keys begin
  const uint n_tokens = uint(step.n_tokens);
  if (t0 >= n_tokens) return;
  const uint last_t = min(t0 + tokens, n_tokens) - 1u;
  const uint own = gl_SubgroupID * 16u * kOwn, row = lane / 2u, side = lane & 1u;
  const uint my_row = gl_SubgroupID * 16u + row;
  const uint t = min(t0 + my_row / p.group, last_t), head = kv_head * p.group + my_row % p.group;
  const bool exists = my_row < tokens * p.group && t0 + my_row / p.group <= last_t;
  const uint place = uint(kv_pos()) + t, tile_place = uint(kv_pos()) + t0;
  const uint row_at = (t * p.n_heads + head) * (DIM / 4u);
  const float scale = put_queries(own, lane, row_at);
  sync_own();
  FOR_CHANNELS(BEGIN)
  const uint end = uint(kv_pos()) + last_t + 1u;
  const uint first = p.window > 0u && place + 1u > p.window ? place + 1u - p.window : 0u;
  const uint tile_first = p.window > 0u && tile_place + 1u > p.window ? tile_place + 1u - p.window : 0u;
  const uint to = i / kPieces * kStride + i % kPieces;
  float largest = kNone, total = 0.0;
  uvec2 page = page_at(p.k_state, tile_first, kv_head);
  FOR_CHANNELS(FETCH)
  for (uint at = tile_first / 64u * 64u; at < end; at += 64u) {
    FOR_CHANNELS(KEEP)
    barrier();
    page = page_at(p.v_state, at, kv_head);
    FOR_CHANNELS(FETCH)
    {
      Sum score0 = Sum(0.0), score1 = Sum(0.0), score2 = Sum(0.0), score3 = Sum(0.0);
      sync_own();
      FOR_CHANNELS(SCORES)
      FOR_KEYS(STORE)
    }
    sync_own();
    // Scores become weights: two lanes a row, every other four keys each.
    const bool all = at + 63u <= tile_place && (p.window == 0u || at >= tile_first + tokens);
    float most = kNone;
    TAKE(0) TAKE(1) TAKE(2) TAKE(3) TAKE(4) TAKE(5) TAKE(6) TAKE(7)
    const float grown = max(largest, subgroupClusteredMax(most, 2u));
    const float base = grown == kNone ? 0.0 : grown, less = exp2(largest - grown);
    float sum = 0.0;
    sync_own();
    WEIGH(0) WEIGH(1) WEIGH(2) WEIGH(3) WEIGH(4) WEIGH(5) WEIGH(6) WEIGH(7)
    total = total * less + subgroupClusteredAdd(sum, 2u);
    largest = grown;
    if (subgroupMin(less) < 1.0) {
      const uint mine = gl_SubgroupID * 64u;
      spread[mine + 4u * row + 2u * side] = vec4(less);
      spread[mine + 4u * row + 2u * side + 1u] = vec4(less);
      sync_own();
      Sum factors;
      coopMatLoad(factors, spread, mine, 4u, gl_CooperativeMatrixLayoutRowMajor);
      FOR_CHANNELS(SHRINK)
    }
    barrier();
    FOR_CHANNELS(KEEP)
    barrier();
    if (at + 64u < end) {
      page = page_at(p.k_state, at + 64u, kv_head);
      FOR_CHANNELS(FETCH)
    }
    FOR_KEYS(WEIGHTED)
    barrier();
  }
  // 64 channels at a time through own memory.
  const float divided = 1.0 / total;
  PUT(0) PUT(1) PUT(2) PUT(3)
  WRITE(0u)
#if DIM == 128
  PUT(4) PUT(5) PUT(6) PUT(7)
  WRITE(16u)
#endif
}
