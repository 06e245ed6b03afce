// The CUDA backend: NVIDIA GPUs of compute capability 7.5 and later.
#pragma once
#include "runtime/backend/registry.h"

namespace runnel::cuda {

/// "cuda". Available when a driver and a device are there. The environment variable
/// RUNNEL_CUDA_DEVICE chooses among several devices; the default is device 0.
BackendInfo backend_info();

}  // namespace runnel::cuda
