// The reference backend: plain loops, f32 accumulation, every op. It is the specification that all
// other backends are compared with, and is never optimised.
#pragma once
#include "runtime/backend/registry.h"

namespace runnel::reference {

/// Registry row.
BackendInfo backend_info();

}  // namespace runnel::reference
