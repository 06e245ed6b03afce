#include "runtime/backend/registry.h"

#include <array>

#include "backends/cpu/cpu.h"
#include "backends/reference/reference.h"
#ifdef RUNNEL_HAS_CUDA
#include "backends/cuda/cuda.h"
#endif
#ifdef RUNNEL_HAS_VULKAN
#include "backends/vulkan/vulkan.h"
#endif

namespace runnel {

std::span<const BackendInfo> backend_registry() {
  // clang-format off: one row per backend
  static const std::array kBackends = std::to_array<BackendInfo>({
#ifdef RUNNEL_HAS_CUDA
      cuda::backend_info(),
#endif
#ifdef RUNNEL_HAS_VULKAN
      vulkan::backend_info(),
#endif
      cpu::backend_info(),
      reference::backend_info(),
  });
  // clang-format on
  return kBackends;
}

}  // namespace runnel
