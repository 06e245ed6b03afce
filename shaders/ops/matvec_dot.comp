//! variants: format=q4_0,q8_0,q4_k,q6_k fused=none,swiglu
// matmul of one row in integers: the row becomes signed bytes with a scale per group of 32 values, in shared
// memory; products of four bytes are one instruction. Each set of kSpan subgroups makes four results (or two of
// swiglu) and asks for its first weights before it waits for the row. rms_norm on the way in (its scale is
// applied to the sums) and a residual on the way out, as in matvec_row. Bound by memory: the weights, once.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_clustered : require
#extension GL_EXT_spirv_intrinsics : require
#ifdef RUNNEL_FUSED_swiglu
#define RUNNEL_MATRICES 2
#else
#define RUNNEL_MATRICES 1
#endif
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint kSpan = 1;     // subgroups that share a row of weights
layout(constant_id = 2) const uint kRoom = 64;    // groups of a row at most
layout(push_constant) uniform Push {
  uint groups, plane1, plane2, plane3;
  uint n, has_bias, has_residual, has_norm;
  float eps;
} p;
#include "weights.glsl"
#include "format.glsl"
layout(set = 0, binding = 1, std430) readonly buffer X { vec4 x[]; };
layout(set = 0, binding = 2, std430) buffer Y { float y[]; };
layout(set = 0, binding = 3, std430) readonly buffer Bias { float bias[]; };
layout(set = 0, binding = 4, std430) readonly buffer Residual { float residual[]; };
layout(set = 0, binding = 5, std430) readonly buffer Norm { vec4 norm[]; };

// OpSDot of four signed bytes each.
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018], id = 4450)
int dot4(uint a, uint b, spirv_literal int packed_format);

const uint kRows = 4u / RUNNEL_MATRICES, kMaxSubgroups = 128u;
shared uint bytes[8u * kRoom];  // piece j of 4 values of group g: [g][j]
shared vec4 scales[kRoom];      // scale; scale * sum of the first 16 bytes, and of the last
shared float squares[kMaxSubgroups];
shared vec4 parts[kMaxSubgroups];

/// The row as bytes; eight neighbours make a group. Asking for several pieces at a time took more
/// registers than it gave speed.
void stage() {
  float square = 0.0;
  for (uint e = gl_LocalInvocationID.x; e < 8u * p.groups; e += gl_WorkGroupSize.x) {
    vec4 v = x[e];
    if (p.has_norm != 0u) {
      square += dot(v, v);
      v *= norm[e];
    }
    const vec4 size = abs(v);
    const float largest = subgroupClusteredMax(max(max(size.x, size.y), max(size.z, size.w)), 8u);
    const float scale = largest / 127.0, inverse = largest > 0.0 ? 127.0 / largest : 0.0;
    const ivec4 q = ivec4(roundEven(v * inverse));
    const float sum = subgroupClusteredAdd(float(q.x + q.y + q.z + q.w), 4u);
    bytes[e] = uint(q.x & 255) | uint(q.y & 255) << 8 | uint(q.z & 255) << 16 | uint(q.w) << 24;
    if ((e & 7u) == 0u) scales[e >> 3].xy = vec2(scale, scale * sum);
    if ((e & 7u) == 4u) scales[e >> 3].z = scale * sum;
  }
  square = subgroupAdd(square);
  if (subgroupElect()) squares[gl_SubgroupID] = square;
  barrier();
}

uvec4 bytes4(uint g, uint j) {
  const uint at = 8u * g + 4u * j;
  return uvec4(bytes[at], bytes[at + 1u], bytes[at + 2u], bytes[at + 3u]);
}

float product(Raw raw, uint row, uint g, uvec4 x0, uvec4 x1, vec4 scale) {
  uvec4 first, last;
  vec2 s, o;
  codes32(raw, row, g, first, last, s, o);
  const int a = dot4(first.x, x0.x, 0) + dot4(first.y, x0.y, 0) + dot4(first.z, x0.z, 0) + dot4(first.w, x0.w, 0);
  const int b = dot4(last.x, x1.x, 0) + dot4(last.y, x1.y, 0) + dot4(last.z, x1.z, 0) + dot4(last.w, x1.w, 0);
  return scale.x * (s.x * float(a) + s.y * float(b)) + (o.x * scale.y + o.y * scale.z);
}

uint row_of(uint n0, uint i) { return min(n0 + i / RUNNEL_MATRICES, p.n - 1u); }

struct Four {
  Raw a, b, c, d;
};
Four fetch(uint n0, uint g) {
  const uint m = RUNNEL_MATRICES - 1u;
  g = min(g, p.groups - 1u);
  return Four(fetch32(0u, row_of(n0, 0u), g), fetch32(m, row_of(n0, 1u), g), fetch32(0u, row_of(n0, 2u), g),
              fetch32(m, row_of(n0, 3u), g));
}

/// Sums of four rows (or two of each matrix) over the groups of this thread; two are on their way.
vec4 sums(uint n0, uint lane, uint lanes, Four now, Four next) {
  vec4 sum = vec4(0.0);
  for (uint g = lane; g < p.groups; g += lanes) {
    const uvec4 x0 = bytes4(g, 0u), x1 = bytes4(g, 1u);
    const vec4 scale = scales[g];
    sum.x += product(now.a, row_of(n0, 0u), g, x0, x1, scale);
    sum.y += product(now.b, row_of(n0, 1u), g, x0, x1, scale);
    sum.z += product(now.c, row_of(n0, 2u), g, x0, x1, scale);
    sum.w += product(now.d, row_of(n0, 3u), g, x0, x1, scale);
    now = next;
    if (g + 2u * lanes < p.groups) next = fetch(n0, g + 2u * lanes);
  }
  return sum;
}

void finish(uint n, float total, float up, float scale) {
  total *= scale;
#ifdef RUNNEL_FUSED_swiglu
  total = total / (1.0 + exp(-total)) * (up * scale);
#endif
  if (p.has_bias != 0u) total += bias[n];
  if (p.has_residual != 0u) total += residual[n];
  y[n] = total;
}

void main() {
  const uint sets = gl_NumSubgroups / kSpan, set = gl_SubgroupID / kSpan, stride = sets * kRows;
  const uint lanes = kSpan * gl_SubgroupSize;
  const uint lane = gl_SubgroupID % kSpan * gl_SubgroupSize + gl_SubgroupInvocationID;
  float scale = 1.0;
  for (uint base = gl_WorkGroupID.x * stride; base < p.n; base += gl_NumWorkGroups.x * stride) {
    const uint n0 = base + set * kRows;
    const Four now = fetch(n0, lane);
    Four next = now;
    if (lane + lanes < p.groups) next = fetch(n0, lane + lanes);
    if (base == gl_WorkGroupID.x * stride) {
      stage();
      float total = 0.0;
      for (uint s = 0u; s < gl_NumSubgroups; ++s) total += squares[s];
      if (p.has_norm != 0u) scale = 1.0 / sqrt(total / float(p.groups * 32u) + p.eps);
    }
    vec4 sum = subgroupAdd(sums(n0, lane, lanes, now, next));
    if (kSpan > 1u) {
      barrier();
      if (subgroupElect()) parts[gl_SubgroupID] = sum;
      barrier();
      sum = vec4(0.0);
      for (uint s = 0u; s < kSpan; ++s) sum += parts[set * kSpan + s];
    }
    if (lane < kRows && n0 + lane < p.n && set < sets)
      finish(n0 + lane, RUNNEL_MATRICES == 2 ? sum[2u * lane] : sum[lane], sum[2u * lane & 3u | 1u], scale);
  }
}
