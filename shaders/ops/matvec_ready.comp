//! variants: format=q4_0,q8_0,q4_k,q6_k fused=none,swiglu,conv
// matmul of one row that lies ready as bytes (lib/ready.glsl): products of four bytes are one instruction. Each set of
// kSpan subgroups takes four rows of weights at a time. Bound by memory: the weights, once.
// fused: swiglu, of two matrices; conv, where rows c, c + n, c + 2 n of the weights become channel c of a short
// convolution (short_conv.comp). Results may be made ready for the next product, with the weight of its norm.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_EXT_spirv_intrinsics : require
#ifdef RUNNEL_FUSED_swiglu
#define RUNNEL_MATRICES 2
#else
#define RUNNEL_MATRICES 1
#endif
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint kSpan = 1;      // subgroups that share a row of weights
layout(constant_id = 2) const uint kResults = 16;  // of a workgroup; no more than threads
layout(push_constant) uniform Push {
  uint groups, plane1, plane2, plane3;
  uint n, has_bias, has_residual, has_norm;
  float eps;
  uint makes_ready, ready_norm, taps;
  uint columns, state;
} p;
#include "weights.glsl"
#include "format.glsl"
const uint kReadyRoom = kResults;
#define RUNNEL_READY 6
#include "ready.glsl"
layout(set = 0, binding = 1, std430) readonly buffer X { uvec4 x[]; };
layout(set = 0, binding = 1, std430) readonly buffer XScales { vec4 x_scales[]; };
layout(set = 0, binding = 1, std430) readonly buffer XSquares { float x_squares[]; };
layout(set = 0, binding = 2, std430) writeonly buffer Y { float y[]; };
layout(set = 0, binding = 3, std430) readonly buffer Bias { float bias[]; };
layout(set = 0, binding = 4, std430) readonly buffer Residual { float residual[]; };
layout(set = 0, binding = 5, std430) readonly buffer Norm { float norm[]; };
#ifdef RUNNEL_FUSED_conv
#define RUNNEL_FILTER 7
#include "conv_channel.glsl"
#endif

// Rows of weights of a result, and of a set of subgroups at a time.
#ifdef RUNNEL_FUSED_conv
#define RUNNEL_PARTS 3u
#define RUNNEL_ROWS 3
#else
#define RUNNEL_PARTS uint(RUNNEL_MATRICES)
#define RUNNEL_ROWS 4
#endif

// OpSDot of four signed bytes each.
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018], id = 4450)
int dot4(uint a, uint b, spirv_literal int packed_format);

struct Piece {
  uvec4 first, last;
  vec4 scale;
};
Piece piece_of(uint g) { return Piece(x[g], x[p.groups + g], x_scales[2u * p.groups + g]); }

float add_product(float sum, Raw raw, uint row, uint g, Piece v) {
  uvec4 first, last;
  vec2 s, o;
  codes32(raw, row, g, first, last, s, o);
  const int a = dot4(first.x, v.first.x, 0) + dot4(first.y, v.first.y, 0) + dot4(first.z, v.first.z, 0) +
                dot4(first.w, v.first.w, 0);
  const int b = dot4(last.x, v.last.x, 0) + dot4(last.y, v.last.y, 0) + dot4(last.z, v.last.z, 0) +
                dot4(last.w, v.last.w, 0);
  return sum + ((v.scale.x * s.x * float(a) + v.scale.z * s.y * float(b)) + (o.x * v.scale.y + o.y * v.scale.w));
}

const uint kParts = RUNNEL_PARTS, kEach = RUNNEL_ROWS / kParts;
shared vec4 parts[kResults / kEach * kSpan];
shared float made[kResults];

/// Row i of the weights of set `at`: result i / kParts, part i % kParts.
uint matrix_of(uint i) { return RUNNEL_MATRICES == 2 ? i & 1u : 0u; }
uint row_of(uint at, uint i) {
#ifdef RUNNEL_FUSED_conv
  return min(at, p.n - 1u) + i * p.n;
#else
  return min(at + i / kParts, p.n - 1u);
#endif
}

// Named, not an array: what is in flight must be in registers.
struct Rows {
  Piece v;
  Raw a, b, c;
#if RUNNEL_ROWS > 3
  Raw d;
#endif
};
Rows fetch(uint at, uint g) {
  Rows rows;
  g = min(g, p.groups - 1u);
  rows.v = piece_of(g);
  rows.a = fetch32(matrix_of(0u), row_of(at, 0u), g);
  rows.b = fetch32(matrix_of(1u), row_of(at, 1u), g);
  rows.c = fetch32(matrix_of(2u), row_of(at, 2u), g);
#if RUNNEL_ROWS > 3
  rows.d = fetch32(matrix_of(3u), row_of(at, 3u), g);
#endif
  return rows;
}
vec4 add_rows(vec4 sum, Rows rows, uint at, uint g) {
  sum.x = add_product(sum.x, rows.a, row_of(at, 0u), g, rows.v);
  sum.y = add_product(sum.y, rows.b, row_of(at, 1u), g, rows.v);
  sum.z = add_product(sum.z, rows.c, row_of(at, 2u), g, rows.v);
#if RUNNEL_ROWS > 3
  sum.w = add_product(sum.w, rows.d, row_of(at, 3u), g, rows.v);
#endif
  return sum;
}

float residual_n = 0.0, norm_n = 1.0, bias_n = 0.0, squares = 0.0;

/// What the results need besides sums. Asked for behind the first weights: additions wait for what they add.
void ask(uint i, uint n, bool mine) {
  if (mine && p.has_bias != 0u) bias_n = bias[n];
  if (mine && p.has_residual != 0u) residual_n = residual[n];
  if (mine && p.ready_norm != 0u) norm_n = norm[n];
#ifdef RUNNEL_FUSED_conv
  if (mine) ask_conv(n);
#endif
  if (p.has_norm != 0u && i < kResults + gl_SubgroupSize)  // whole subgroups of those that finish results
    for (uint e = gl_SubgroupInvocationID; e < 2u * p.groups; e += gl_SubgroupSize)
      squares += x_squares[12u * p.groups + e];
}

/// The result of this thread from the sums of its rows.
float result_of(vec4 sum, uint i, uint n) {
  const uint c = i % kEach * kParts;
#ifdef RUNNEL_FUSED_conv
  return conv_channel(n, sum.xyz, bias_n);
#elif defined(RUNNEL_FUSED_swiglu)
  return sum[c] / (1.0 + exp(-sum[c])) * sum[c + 1u] + residual_n;
#else
  return sum[c] + bias_n + residual_n;
#endif
}

void main() {
  const uint i = gl_LocalInvocationID.x, first = gl_WorkGroupID.x * kResults, n = first + i;
  const bool mine = i < kResults && n < p.n;
  const uint sets = gl_NumSubgroups / kSpan, set = gl_SubgroupID / kSpan, lanes = kSpan * gl_SubgroupSize;
  const uint lane = gl_SubgroupID % kSpan * gl_SubgroupSize + gl_SubgroupInvocationID;
  // Sets of subgroups take turns; more groups at a time, or those of the next turn, took more registers than it gave
  // speed. A subgroup too many for whole sets has nothing to do.
  const uint n_sets = set < sets ? kResults / kEach : 0u;
  Rows rows = fetch(first + set * kEach, lane);
  ask(i, n, mine);
  for (uint at = set; at < n_sets; at += sets) {
    vec4 sum = vec4(0.0);
    for (uint base = 0u; base < p.groups; base += lanes) {
      if (base + lane < p.groups) sum = add_rows(sum, rows, first + at * kEach, base + lane);
      const bool more = base + lanes < p.groups;
      if (more || at + sets < n_sets) rows = fetch(first + (more ? at : at + sets) * kEach, lane + (more ? base + lanes : 0u));
    }
    sum = subgroupAdd(sum);
    if (subgroupElect()) parts[at * kSpan + gl_SubgroupID % kSpan] = sum;
  }
  const float scale = p.has_norm != 0u ? 1.0 / sqrt(subgroupAdd(squares) / float(p.groups * 32u) + p.eps) : 1.0;
  barrier();
  if (i < kResults) {
    vec4 sum = parts[i / kEach * kSpan];
    for (uint s = 1u; s < kSpan; ++s) sum += parts[i / kEach * kSpan + s];
    const float result = mine ? result_of(sum * scale, i, n) : 0.0;
    if (mine) y[n] = result;
    made[i] = result;
    ready_values[i] = result * norm_n;
  }
  if (p.makes_ready == 0u) return;
  barrier();
  write_ready((p.n + 31u) / 32u, first, kResults);
  if (i >= kResults / 16u || first + 16u * i >= p.n) return;
  float total = 0.0;
  for (uint e = 16u * i; e < 16u * i + 16u; ++e) total += made[e] * made[e];
  ready_squares[12u * ((p.n + 31u) / 32u) + first / 16u + i] = total;
}
