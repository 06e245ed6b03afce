//! variants: vector=64
// rotate: gains, signed Hadamard transform of every 64 values, rounding to f16; each optional. A
// workgroup of 64 threads per vector; each stage is one rounded addition, as in quant/hadamard.cc.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 64) in;
layout(push_constant) uniform Push {
  uint vectors_per_row, rows_fixed, rows_per_token, cols;
  uint signs_low, signs_high, transform, inverse;
  uint rounds, has_gains;
} p;
#include "step.glsl"
#include "half.glsl"
layout(set = 0, binding = 0, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 1, std430) readonly buffer Gains { float gains[]; };
layout(set = 0, binding = 2, std430) buffer Y { float y[]; };
shared float v[64];

void main() {
  const uint i = gl_LocalInvocationID.x;
  const uint n = rows_in_step(p.rows_fixed, p.rows_per_token) * p.vectors_per_row;
  for (uint vector = gl_WorkGroupID.x; vector < n; vector += gl_NumWorkGroups.x) {
    const uint row = vector / p.vectors_per_row, col = vector % p.vectors_per_row * 64u + i;
    const uint at = row * p.cols + col;
    precise float value = col < p.cols ? x[at] : 0.0;
    if (p.has_gains != 0u && col < p.cols) value = value * gains[col];
    if (p.transform != 0u) {
      const bool flips = ((i < 32u ? p.signs_low >> i : p.signs_high >> (i - 32u)) & 1u) != 0u;
      if (p.inverse == 0u && flips) value = -value;
      for (uint distance = 1u; distance < 64u; distance *= 2u) {
        v[i] = value;
        barrier();
        precise const float other = v[i ^ distance];
        if ((i & distance) == 0u) value = value + other;
        else value = other - value;
        barrier();
      }
      value = value * 0.125;
      if (p.inverse != 0u && flips) value = -value;
    }
    if (p.rounds != 0u) value = f16_to_f32(f32_to_f16(value));
    if (col < p.cols) y[at] = value;
  }
}
