// Compiled by hand: prebuilt/README.md. Product of f16 matrices on the matrix units:
// y[t][n] = factor[t] * dot(x[t], w[n]) (+ bias[n]). A workgroup of 8 subgroups makes 64 rows times 128
// columns, 64 values of K at a time; the next ones are on their way to registers meanwhile. The matrices
// have names: in arrays under nested loops a driver kept them in memory, five times slower.
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

const uint kTile = 64u, kTileN = 128u, kDepth = 8u, kStride = kDepth + 1u;  // depth in pieces of 8 values
shared uvec4 xs[kTile * kStride];
shared uvec4 ws[kTileN * kStride];

#define Sum coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator>
#define Left coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseA>
#define Right coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseB>

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
  const uint t0 = gl_WorkGroupID.y * kTile, n0 = gl_WorkGroupID.x * kTileN, i = gl_LocalInvocationID.x;
  if (t0 >= n_rows) return;
  const uint pieces = p.k / 8u, lane_row = i / kDepth, piece = i % kDepth;
  const uint to = lane_row * kStride + piece, step32 = 32u * kStride;
  const uint x0 = min(t0 + lane_row, n_rows - 1u) * pieces, x1 = min(t0 + lane_row + 32u, n_rows - 1u) * pieces;
  const uint w0 = min(n0 + lane_row, p.n - 1u) * pieces, w1 = min(n0 + lane_row + 32u, p.n - 1u) * pieces;
  const uint w2 = min(n0 + lane_row + 64u, p.n - 1u) * pieces, w3 = min(n0 + lane_row + 96u, p.n - 1u) * pieces;
  const uint row_x = (gl_SubgroupID & 1u) * 32u * kStride, row_w = (gl_SubgroupID >> 1) * 32u * kStride;
  Sum sum00 = Sum(0.0), sum01 = Sum(0.0), sum10 = Sum(0.0), sum11 = Sum(0.0);
  uvec4 a0 = uvec4(0u), a1 = uvec4(0u), b0 = uvec4(0u), b1 = uvec4(0u), b2 = uvec4(0u), b3 = uvec4(0u);
  for (uint at = 0u; at < pieces + kDepth; at += kDepth) {
    if (at > 0u) {
      xs[to] = a0;
      xs[to + step32] = a1;
      ws[to] = b0;
      ws[to + step32] = b1;
      ws[to + 2u * step32] = b2;
      ws[to + 3u * step32] = b3;
      barrier();
    }
    const uint from = at + piece;
    const bool there = from < pieces;
    a0 = there ? x[x0 + from] : uvec4(0u);
    a1 = there ? x[x1 + from] : uvec4(0u);
    b0 = there ? w[w0 + from] : uvec4(0u);
    b1 = there ? w[w1 + from] : uvec4(0u);
    b2 = there ? w[w2 + from] : uvec4(0u);
    b3 = there ? w[w3 + from] : uvec4(0u);
    if (at == 0u) continue;
    [[unroll]] for (uint depth = 0u; depth < kDepth; depth += 2u) {
      Left left0, left1;
      Right right0, right1;
      coopMatLoad(left0, xs, row_x + depth, kStride, gl_CooperativeMatrixLayoutRowMajor);
      coopMatLoad(left1, xs, row_x + 16u * kStride + depth, kStride, gl_CooperativeMatrixLayoutRowMajor);
      coopMatLoad(right0, ws, row_w + depth, kStride, gl_CooperativeMatrixLayoutColumnMajor);
      sum00 = coopMatMulAdd(left0, right0, sum00);
      sum10 = coopMatMulAdd(left1, right0, sum10);
      coopMatLoad(right1, ws, row_w + 16u * kStride + depth, kStride, gl_CooperativeMatrixLayoutColumnMajor);
      sum01 = coopMatMulAdd(left0, right1, sum01);
      sum11 = coopMatMulAdd(left1, right1, sum11);
    }
    barrier();
  }
  const uint own = gl_SubgroupID * 64u, t = t0 + (gl_SubgroupID & 1u) * 32u, col = n0 + (gl_SubgroupID >> 1) * 32u;
  coopMatStore(sum00, xs, own, 4u, gl_CooperativeMatrixLayoutRowMajor);
  put(own, t, col, n_rows);
  coopMatStore(sum01, xs, own, 4u, gl_CooperativeMatrixLayoutRowMajor);
  put(own, t, col + 16u, n_rows);
  coopMatStore(sum10, xs, own, 4u, gl_CooperativeMatrixLayoutRowMajor);
  put(own, t + 16u, col, n_rows);
  coopMatStore(sum11, xs, own, 4u, gl_CooperativeMatrixLayoutRowMajor);
  put(own, t + 16u, col + 16u, n_rows);
}
