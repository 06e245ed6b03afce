// Compiled by hand: prebuilt/README.md. Product of f16 matrices on the matrix units:
// y[t][n] = factor[t] * dot(x[t], w[n]) (+ bias[n]). A workgroup of 8 subgroups makes TILE rows times
// 128 columns, 64 values of K at a time.
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
const uint kFragmentsM = TILE / 32u, kFragmentsN = 2u;  // per subgroup: 2 x 4 subgroups
const uint kLoadsX = TILE * kDepth / 256u, kLoadsW = kTileN * kDepth / 256u;
shared uvec4 xs[TILE * kStride];
shared uvec4 ws[kTileN * kStride];
shared float outs[8u * 256u];

void main() {
  const uint n_rows = rows_in_step(p.rows_fixed, p.rows_per_token);
  const uint t0 = gl_WorkGroupID.y * TILE, n0 = gl_WorkGroupID.x * kTileN, i = gl_LocalInvocationID.x;
  if (t0 >= n_rows) return;
  const uint pieces = p.k / 8u;
  const uint warp_m = gl_SubgroupID & 1u, warp_n = gl_SubgroupID >> 1;
  coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator> acc[kFragmentsM * kFragmentsN];
  [[unroll]] for (uint f = 0u; f < kFragmentsM * kFragmentsN; ++f)
    acc[f] = coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator>(0.0);
  const uint lane_row = i / kDepth, lane_piece = i % kDepth;
  for (uint at = 0u; at < pieces; at += kDepth) {
    const uint piece = at + lane_piece;
    [[unroll]] for (uint j = 0u; j < kLoadsX; ++j)
      xs[(lane_row + 32u * j) * kStride + lane_piece] = piece < pieces ? x[min(t0 + lane_row + 32u * j, n_rows - 1u) * pieces + piece] : uvec4(0u);
    [[unroll]] for (uint j = 0u; j < kLoadsW; ++j)
      ws[(lane_row + 32u * j) * kStride + lane_piece] = piece < pieces ? w[min(n0 + lane_row + 32u * j, p.n - 1u) * pieces + piece] : uvec4(0u);
    barrier();
    [[unroll]] for (uint step_k = 0u; step_k < kDepth / 2u; ++step_k) {
      coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseA> a[kFragmentsM];
      coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseB> b;
      [[unroll]] for (uint m = 0u; m < kFragmentsM; ++m)
        coopMatLoad(a[m], xs, (warp_m * (TILE / 2u) + 16u * m) * kStride + 2u * step_k, kStride,
                    gl_CooperativeMatrixLayoutRowMajor);
      [[unroll]] for (uint n = 0u; n < kFragmentsN; ++n) {
        coopMatLoad(b, ws, (warp_n * 32u + 16u * n) * kStride + 2u * step_k, kStride,
                    gl_CooperativeMatrixLayoutColumnMajor);
        [[unroll]] for (uint m = 0u; m < kFragmentsM; ++m)
          acc[m * kFragmentsN + n] = coopMatMulAdd(a[m], b, acc[m * kFragmentsN + n]);
      }
    }
    barrier();
  }
  const uint own = gl_SubgroupID * 256u;
  [[unroll]] for (uint m = 0u; m < kFragmentsM; ++m)
    [[unroll]] for (uint n = 0u; n < kFragmentsN; ++n) {
      coopMatStore(acc[m * kFragmentsN + n], outs, own, 16u, gl_CooperativeMatrixLayoutRowMajor);
      subgroupMemoryBarrierShared();
      subgroupBarrier();
      for (uint e = gl_SubgroupInvocationID; e < 256u; e += gl_SubgroupSize) {
        const uint t = t0 + warp_m * (TILE / 2u) + 16u * m + e / 16u;
        const uint col = n0 + warp_n * 32u + 16u * n + e % 16u;
        if (t < n_rows && col < p.n)
          y[t * p.n + col] = outs[own + e] * factor[t] + (p.has_bias != 0u ? bias[col] : 0.0);
      }
      subgroupBarrier();
    }
}
