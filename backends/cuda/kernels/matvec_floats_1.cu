#include "backends/cuda/kernels/matvec_kernel.cuh"

namespace runnel::cuda {

cudaError_t matvec_floats_1(const MatvecArgs& args, int max_rows, const Launch& launch) {
  return run_matvec<FloatX, 1>(args, max_rows, launch);
}

}  // namespace runnel::cuda
