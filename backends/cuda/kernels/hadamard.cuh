// Signed Hadamard transform of 64 values by a warp, two in each lane; stages with distance 1, 2, .. 32,
// each one rounded addition, as in quant/hadamard.h.
#pragma once
#include "backends/cuda/kernels/device.cuh"

namespace runnel::cuda {

/// Lane i holds values i and i + 32.
__device__ inline void transform(float& a, float& b, const RotateAttr& attr) {
  const int lane = threadIdx.x % 32;
  const bool forward = attr.direction == quant::Direction::forward;
  const bool flip_a = attr.signs >> lane & 1, flip_b = attr.signs >> (lane + 32) & 1;
  if (forward && flip_a) a = -a;
  if (forward && flip_b) b = -b;
  for (int distance = 1; distance < 32; distance *= 2) {
    const float other_a = __shfl_xor_sync(kAllLanes, a, distance);
    const float other_b = __shfl_xor_sync(kAllLanes, b, distance);
    a = lane & distance ? __fsub_rn(other_a, a) : __fadd_rn(a, other_a);
    b = lane & distance ? __fsub_rn(other_b, b) : __fadd_rn(b, other_b);
  }
  const float sum = __fadd_rn(a, b), difference = __fsub_rn(a, b);
  a = sum * 0.125f;
  b = difference * 0.125f;
  if (!forward && flip_a) a = -a;
  if (!forward && flip_b) b = -b;
}

}  // namespace runnel::cuda
