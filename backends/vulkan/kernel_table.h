// The kernel rows of the Vulkan backend. First match wins; no row = not supported.
#pragma once
#include <span>

#include "backends/vulkan/kernel.h"
#include "runtime/backend/kernel_table.h"

namespace runnel::vulkan {

using Row = KernelEntry<Step, Caps>;

std::span<const Row> kernel_table();

}  // namespace runnel::vulkan
