// The Vulkan backend: any GPU with a Vulkan 1.1 driver, chosen when the program runs.
#pragma once
#include "runtime/backend/registry.h"

namespace runnel::vulkan {

/// Registry row.
BackendInfo backend_info();

}  // namespace runnel::vulkan
