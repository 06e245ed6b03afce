#include "backends/cuda/kernels/gemm_kernel.cuh"

namespace runnel::cuda {

cudaError_t gemm_swiglu(const Step& step, const Launch& launch) {
  return run_step<true>(step, launch);
}

}  // namespace runnel::cuda
