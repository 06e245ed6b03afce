// Compiled by hand: prebuilt/README.md. Product of f16 matrices on the matrix units:
// y[t][n] = factor[t] * dot(x[t], w[n]) (+ bias[n]). A workgroup of 8 subgroups makes TILE rows (64, 128)
// times 128 columns, 64 values of K at a time; the next ones are on their way to registers meanwhile. K is a
// multiple of 64. The matrices have names: in arrays under nested loops a driver kept them in local memory,
// five times slower.
// 2*T*N*K flops.
#version 450
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(push_constant) uniform Push { uint n, k, rows_fixed, rows_per_token, has_bias; } p;
#include "step.glsl"
layout(set = 0, binding = 0, std430) readonly buffer W { uvec4 w[]; };
layout(set = 0, binding = 1, std430) readonly buffer X { uvec4 x[]; };
layout(set = 0, binding = 2, std430) readonly buffer Factors { float factor[]; };
layout(set = 0, binding = 3, std430) writeonly buffer Y { float y[]; };
layout(set = 0, binding = 4, std430) readonly buffer Bias { float bias[]; };

const uint kTileN = 128u, kDepth = 8u, kStride = kDepth + 1u;  // depth in pieces of 8 values
shared uvec4 xs[TILE * kStride];
shared uvec4 ws[kTileN * kStride];

#define Sum coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator>
#define Left coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseA>
#define Right coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseB>
#if TILE == 128
#define FOR_X(DO) DO(0) DO(1) DO(2) DO(3)
#else
#define FOR_X(DO) DO(0) DO(1)
#endif
#define FOR_W(DO) DO(0) DO(1) DO(2) DO(3)

/// Writes 16 x 16 results that this subgroup put into xs.
void put(uint own, uint t0, uint col0, uint n_rows) {
  subgroupMemoryBarrierShared();
  subgroupBarrier();
  for (uint e = gl_SubgroupInvocationID; e < 64u; e += gl_SubgroupSize) {
    const uint t = t0 + e / 4u, col = col0 + 4u * (e % 4u);
    if (t >= n_rows) continue;
    const vec4 v = uintBitsToFloat(xs[own + e]) * factor[t];
    [[unroll]] for (uint c = 0u; c < 4u; ++c)
      if (col + c < p.n) y[t * p.n + col + c] = v[c] + (p.has_bias != 0u ? bias[col + c] : 0.0);
  }
  subgroupBarrier();
}

void main() {
  const uint n_rows = rows_in_step(p.rows_fixed, p.rows_per_token);
  const uint t0 = gl_WorkGroupID.y * TILE, n0 = gl_WorkGroupID.x * kTileN, i = gl_LocalInvocationID.x;
  if (t0 >= n_rows) return;
  const uint pieces = p.k / 8u, lane_row = i / kDepth, piece = i % kDepth;
  const uint to = lane_row * kStride + piece;
  const uint row_x = (gl_SubgroupID & 1u) * (TILE / 2u) * kStride, row_w = (gl_SubgroupID >> 1) * 32u * kStride;
#define BEGIN_X(J)                                                                           \
  const uint from_x##J = min(t0 + lane_row + 32u * J, n_rows - 1u) * pieces + piece;         \
  uvec4 next_x##J = x[from_x##J];                                                            \
  Sum sum##J##_0 = Sum(0.0), sum##J##_1 = Sum(0.0);
#define BEGIN_W(J)                                                                           \
  const uint from_w##J = min(n0 + lane_row + 32u * J, p.n - 1u) * pieces + piece;            \
  uvec4 next_w##J = w[from_w##J];
  FOR_X(BEGIN_X)
  FOR_W(BEGIN_W)
  for (uint at = 0u; at < pieces; at += kDepth) {
#define KEEP_X(J) xs[to + 32u * J * kStride] = next_x##J;
#define KEEP_W(J) ws[to + 32u * J * kStride] = next_w##J;
    FOR_X(KEEP_X)
    FOR_W(KEEP_W)
    barrier();
    const uint next = at + kDepth;
    if (next < pieces) {
#define LOAD_X(J) next_x##J = x[from_x##J + next];
#define LOAD_W(J) next_w##J = w[from_w##J + next];
      FOR_X(LOAD_X)
      FOR_W(LOAD_W)
    }
    [[unroll]] for (uint depth = 0u; depth < kDepth; depth += 2u) {
#define LEFT(J) \
  Left left##J; \
  coopMatLoad(left##J, xs, row_x + 16u * J * kStride + depth, kStride, gl_CooperativeMatrixLayoutRowMajor);
#define MULTIPLY_0(J) sum##J##_0 = coopMatMulAdd(left##J, right0, sum##J##_0);
#define MULTIPLY_1(J) sum##J##_1 = coopMatMulAdd(left##J, right1, sum##J##_1);
      FOR_X(LEFT)
      Right right0, right1;
      coopMatLoad(right0, ws, row_w + depth, kStride, gl_CooperativeMatrixLayoutColumnMajor);
      FOR_X(MULTIPLY_0)
      coopMatLoad(right1, ws, row_w + 16u * kStride + depth, kStride, gl_CooperativeMatrixLayoutColumnMajor);
      FOR_X(MULTIPLY_1)
    }
    barrier();
  }
  const uint own = gl_SubgroupID * 64u;
  const uint t = t0 + (gl_SubgroupID & 1u) * (TILE / 2u), col = n0 + (gl_SubgroupID >> 1) * 32u;
#define STORE(J)                                                                      \
  coopMatStore(sum##J##_0, xs, own, 4u, gl_CooperativeMatrixLayoutRowMajor);          \
  put(own, t + 16u * J, col, n_rows);                                                 \
  coopMatStore(sum##J##_1, xs, own, 4u, gl_CooperativeMatrixLayoutRowMajor);          \
  put(own, t + 16u * J, col + 16u, n_rows);
  FOR_X(STORE)
}
