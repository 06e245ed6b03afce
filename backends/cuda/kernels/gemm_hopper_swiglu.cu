#include "backends/cuda/kernels/gemm_hopper.cuh"

namespace runnel::cuda {

cudaError_t gemm_hopper_swiglu(const Step& step, const Launch& launch) {
  return hopper::run_step<true>(step, launch);
}

}  // namespace runnel::cuda
