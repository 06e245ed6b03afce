// Rows of x in f16 for the tensor cores.
#pragma once
#include "backends/cuda/kernels/device.cuh"

namespace runnel::cuda {

struct ToHalfArgs {
  const float* x;  // [max_rows, k]
  __half* out;     // [max_rows, padded], zeros past k
  float* scales;   // [max_rows]: x = scale * out, scale a power of two
  int k, padded, max_rows;
  Rows rows;
};

cudaError_t to_half(const ToHalfArgs& args, const Launch& launch);

}  // namespace runnel::cuda
