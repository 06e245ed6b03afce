//! variants: format=* fused=none,swiglu,moe reduce=shared,subgroup
// matmul of few rows: y[t][n] = dot(x[t], W[n]) (+ bias[n]); swiglu: silu(x Wgate^T) * (x Wup^T);
// moe: W of the expert of each row. Reads every weight once: bound by memory. A workgroup makes kRows
// results of kTokens rows; each thread takes every WorkGroupSize-th group of 32 values of a row, so the
// order of additions depends on neither the number of tokens nor of rows.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#ifdef RUNNEL_REDUCE_subgroup
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif
#ifdef RUNNEL_FUSED_swiglu
#define RUNNEL_MATRICES 2
#else
#define RUNNEL_MATRICES 1
#endif
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint kRows = 2;
layout(constant_id = 2) const uint kTokens = 1;
layout(push_constant) uniform Push {
  uint groups, plane1, plane2, plane3;
  uint n, k, x_fixed, x_per_token;
  uint has_bias, n_experts, rows_per_x;
} p;
#include "step.glsl"
#include "weights.glsl"
#include "format.glsl"
#include "load.glsl"
#include "products.glsl"
layout(set = 0, binding = 1, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 1, std430) readonly buffer X4 { vec4 x4[]; };
layout(set = 0, binding = 2, std430) writeonly buffer Y { float y[]; };
#ifdef RUNNEL_FUSED_moe
layout(set = 0, binding = 3, std430) readonly buffer Ids { int ids[]; };
#else
layout(set = 0, binding = 3, std430) readonly buffer Bias { float bias[]; };
#endif

const uint kValues = kRows * kTokens * RUNNEL_MATRICES;
float acc[kValues];
#ifdef RUNNEL_REDUCE_subgroup
shared float parts[kValues * 32u];
#else
shared float parts[gl_WorkGroupSize.x];
#endif

void load_x(uint t, uint g, out vec4 v[8]) {
  if ((p.k & 31u) == 0u) {
    const uint at = (t * p.k >> 2) + g * 8u;
    [[unroll]] for (uint j = 0u; j < 8u; ++j) v[j] = x4[at + j];
    return;
  }
  for (uint j = 0u; j < 32u; ++j) {
    const uint col = 32u * g + j;
    v[j >> 2][j & 3u] = col < p.k ? x[t * p.k + col] : 0.0;
  }
}

/// Adds up acc[i] of all threads; the result is in acc[i] of thread 0 .. kValues - 1 as `total`.
float reduce_values() {
  float total = 0.0;
#ifdef RUNNEL_REDUCE_subgroup
  [[unroll]] for (uint i = 0u; i < kValues; ++i) {
    const float sum = subgroupAdd(acc[i]);
    if (subgroupElect()) parts[i * 32u + gl_SubgroupID] = sum;
  }
  barrier();
  if (gl_LocalInvocationID.x < kValues)
    for (uint s = 0u; s < gl_NumSubgroups; ++s) total += parts[gl_LocalInvocationID.x * 32u + s];
  barrier();
#else
  for (uint i = 0u; i < kValues; ++i) {
    parts[gl_LocalInvocationID.x] = acc[i];
    barrier();
    for (uint width = gl_WorkGroupSize.x / 2u; width > 0u; width /= 2u) {
      if (gl_LocalInvocationID.x < width)
        parts[gl_LocalInvocationID.x] += parts[gl_LocalInvocationID.x + width];
      barrier();
    }
    if (gl_LocalInvocationID.x == i) total = parts[0];
    barrier();
  }
#endif
  return total;
}

void add_group(uint first_row, uint n0, uint g, uint t0, uint last_t) {
  vec4 v[8];
  float half0, half1;
  if (kTokens == 1u) {
    load_x(t0, g, v);
    half0 = sum16(v, 0u);
    half1 = sum16(v, 4u);
  }
  [[unroll]] for (uint m = 0u; m < RUNNEL_MATRICES; ++m)
    [[unroll]] for (uint r = 0u; r < kRows; ++r) {
      vec4 c[8];
      vec2 s, o;
      load32(m, first_row + min(n0 + r, p.n - 1u), g, c, s, o);
      for (uint t = 0u; t < kTokens; ++t) {
        if (kTokens > 1u) {
          load_x(min(t0 + t, last_t), g, v);
          half0 = sum16(v, 0u);
          half1 = sum16(v, 4u);
        }
        const uint i = (m * kRows + r) * kTokens + t;
        acc[i] = add_products(acc[i], c, s, o, v, half0, half1);
      }
    }
}

void store(uint i, float total, uint n0, uint t0, uint n_rows) {
  const uint n = n0 + i / kTokens, t = t0 + i % kTokens;
#ifdef RUNNEL_FUSED_swiglu
  parts[i] = total;
#endif
  if (n >= p.n || t >= n_rows) return;
#ifdef RUNNEL_FUSED_none
  if (p.has_bias != 0u) total += bias[n];
#endif
#ifndef RUNNEL_FUSED_swiglu
  y[t * p.n + n] = total;
#endif
}

void main() {
  const uint n_rows = rows_in_step(p.x_fixed, p.x_per_token);
  const uint t0 = gl_WorkGroupID.y * kTokens;
  if (t0 >= n_rows) return;
  uint first_row = 0u, x_row = t0, last_t = n_rows - 1u;
#ifdef RUNNEL_FUSED_moe
  int expert = ids[t0];
  if (expert < 0 || uint(expert) >= p.n_experts) {
    if (gl_LocalInvocationID.x == 0u) atomicOr(status.flags, kBadExpert);
    expert = 0;
  }
  first_row = uint(expert) * p.n;
  x_row = t0 / p.rows_per_x;
#endif
  for (uint n0 = gl_WorkGroupID.x * kRows; n0 < p.n; n0 += gl_NumWorkGroups.x * kRows) {
    for (uint i = 0u; i < kValues; ++i) acc[i] = 0.0;
    for (uint g = gl_LocalInvocationID.x; g < p.groups; g += gl_WorkGroupSize.x)
      add_group(first_row, n0, g, x_row, last_t);
    const uint i = gl_LocalInvocationID.x;
    const float total = reduce_values();
    if (i < kValues) store(i, total, n0, t0, n_rows);
#ifdef RUNNEL_FUSED_swiglu
    barrier();
    const uint n = n0 + i / kTokens, t = t0 + i % kTokens;
    if (i < kRows * kTokens && n < p.n && t < n_rows) {
      const float gate = parts[i], up = parts[i + kRows * kTokens];
      y[t * p.n + n] = gate / (1.0 + exp(-gate)) * up;
    }
    barrier();
#endif
  }
}
