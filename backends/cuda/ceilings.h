// What the device does at best: reading of memory, tensor-core and plain arithmetic.
#pragma once
#include "backends/cuda/device.h"
#include "runtime/backend/backend.h"

namespace runnel::cuda {

/// ERRORS: out_of_memory, device_lost.
Result<Ceilings> measure_ceilings(const Device& device);

}  // namespace runnel::cuda
