#include "backends/cuda/kernels/matvec_kernel.cuh"

namespace runnel::cuda {

template cudaError_t matvec_of<Tq1_0>(const MatvecArgs&, int, const Launch&);

}  // namespace runnel::cuda
