#include "backends/cuda/kernels/persist_kernel.cuh"

namespace runnel::cuda {

template cudaError_t launch_persist<Weight::plain>(const PersistArgs&, std::size_t, const Launch&);

}  // namespace runnel::cuda
