// The CPU backend: threaded SIMD kernels and oneDNN rows. See kernel_table.cc for what it can run.
#pragma once
#include "runtime/backend/registry.h"

namespace runnel::cpu {

/// Registry row.
BackendInfo backend_info();

}  // namespace runnel::cpu
