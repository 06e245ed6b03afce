//! variants: format=* fused=none,swiglu,conv
// matmul of one row: each subgroup makes kRows results; the row lies in shared memory, 64 groups of 32
// values at a time, piece by piece, so that neighbours read neighbours. The row may be normed on the way
// in (rms_norm), and a residual added on the way out. fused: swiglu, of two matrices; conv, where rows c, c + n,
// c + 2 n of the weights become channel c of a short convolution (short_conv.comp). Bound by memory: bytes = the
// weights, once. Asking for weights before the row is staged took more registers than it gave speed.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#ifdef RUNNEL_FUSED_swiglu
#define RUNNEL_MATRICES 2
#else
#define RUNNEL_MATRICES 1
#endif
#ifdef RUNNEL_FUSED_conv
#define RUNNEL_PARTS 3
#else
#define RUNNEL_PARTS RUNNEL_MATRICES  // rows of weights of a result
#endif
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint kRows = 2;
layout(push_constant) uniform Push {
  uint groups, plane1, plane2, plane3;
  uint n, has_bias, has_residual, has_norm;
  float eps;
  uint taps, columns, state;
} p;
#include "weights.glsl"
#include "format.glsl"
#include "load.glsl"
#include "products.glsl"
layout(set = 0, binding = 1, std430) readonly buffer X { vec4 x[]; };
layout(set = 0, binding = 2, std430) buffer Y { float y[]; };
layout(set = 0, binding = 3, std430) readonly buffer Bias { float bias[]; };
layout(set = 0, binding = 4, std430) readonly buffer Residual { float residual[]; };
layout(set = 0, binding = 5, std430) readonly buffer Norm { vec4 norm[]; };
#ifdef RUNNEL_FUSED_conv
#define RUNNEL_FILTER 6
#include "conv_channel.glsl"
#endif

const uint kChunk = 64u, kStride = kChunk + 1u;
shared vec4 row[8u * kStride];
shared float squares[128];

/// 1 / root mean square of the row.
float norm_scale() {
  float sum = 0.0;
  for (uint i = gl_LocalInvocationID.x; i < p.groups * 8u; i += gl_WorkGroupSize.x) sum += dot(x[i], x[i]);
  sum = subgroupAdd(sum);
  if (subgroupElect()) squares[gl_SubgroupID] = sum;
  barrier();
  float total = 0.0;
  for (uint s = 0u; s < gl_NumSubgroups; ++s) total += squares[s];
  return 1.0 / sqrt(total / float(p.groups * 32u) + p.eps);
}

void stage(uint first, uint n_groups, float scale) {
  for (uint i = gl_LocalInvocationID.x; i < 8u * n_groups; i += gl_WorkGroupSize.x) {
    vec4 v = x[first * 8u + i];
    if (p.has_norm != 0u) v = v * scale * norm[first * 8u + i];
    row[(i & 7u) * kStride + (i >> 3)] = v;
  }
  barrier();
}

void main() {
  const float scale = p.has_norm != 0u ? norm_scale() : 1.0;
  const uint per_group = gl_NumSubgroups * kRows;
  const bool one_chunk = p.groups <= kChunk;
  if (one_chunk) stage(0u, p.groups, scale);
  for (uint base = gl_WorkGroupID.x * per_group; base < p.n; base += gl_NumWorkGroups.x * per_group) {
    const uint n0 = base + gl_SubgroupID * kRows;
#ifdef RUNNEL_FUSED_conv
    ask_conv(min(n0, p.n - 1u));  // kRows is 1
#endif
    float acc[kRows * RUNNEL_PARTS];
    [[unroll]] for (uint i = 0u; i < kRows * RUNNEL_PARTS; ++i) acc[i] = 0.0;
    for (uint first = 0u; first < p.groups; first += kChunk) {
      const uint n_groups = min(kChunk, p.groups - first);
      if (!one_chunk) stage(first, n_groups, scale);
      for (uint g = gl_SubgroupInvocationID; g < n_groups; g += gl_SubgroupSize) {
        vec4 v[8];
        [[unroll]] for (uint j = 0u; j < 8u; ++j) v[j] = row[j * kStride + g];
        const float half0 = sum16(v, 0u), half1 = sum16(v, 4u);
        [[unroll]] for (uint r = 0u; r < kRows; ++r)
          [[unroll]] for (uint m = 0u; m < RUNNEL_PARTS; ++m) {
            vec4 c[8];
            vec2 s, o;
#ifdef RUNNEL_FUSED_conv
            load32(0u, min(n0 + r, p.n - 1u) + m * p.n, first + g, c, s, o);
#else
            load32(m, min(n0 + r, p.n - 1u), first + g, c, s, o);
#endif
            acc[r * RUNNEL_PARTS + m] = add_products(acc[r * RUNNEL_PARTS + m], c, s, o, v, half0, half1);
          }
      }
      if (!one_chunk) barrier();
    }
    [[unroll]] for (uint r = 0u; r < kRows; ++r) {
      float total = subgroupAdd(acc[r * RUNNEL_PARTS]);
#ifdef RUNNEL_FUSED_swiglu
      const float up = subgroupAdd(acc[r * RUNNEL_PARTS + 1u]);
      total = total / (1.0 + exp(-total)) * up;
#endif
      const uint n = n0 + r;
#ifdef RUNNEL_FUSED_conv
      const vec3 bcx = vec3(total, subgroupAdd(acc[r * RUNNEL_PARTS + 1u]), subgroupAdd(acc[r * RUNNEL_PARTS + 2u]));
      if (subgroupElect() && n < p.n) y[n] = conv_channel(n, bcx, p.has_bias != 0u ? bias[n] : 0.0);
#else
      if (subgroupElect() && n < p.n) {
        if (p.has_bias != 0u) total += bias[n];
        if (p.has_residual != 0u) total += residual[n];
        y[n] = total;
      }
#endif
    }
  }
}
