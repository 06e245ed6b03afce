#include "runtime/backend/registry.h"

#include <array>

#include "backends/cpu/cpu.h"
#include "backends/reference/reference.h"
#ifdef RUNNEL_HAS_CUDA
#include "backends/cuda/cuda.h"
#endif
#if RUNNEL_HAS_VULKAN
#include "backends/vulkan/vulkan.h"
#endif

namespace runnel {

std::span<const BackendInfo> backend_registry() {
  static const std::array kBackends = std::to_array<BackendInfo>({
#ifdef RUNNEL_HAS_CUDA
    cuda::backend_info(),
#endif
#if RUNNEL_HAS_VULKAN
        vulkan::backend_info(),
#endif
        cpu::backend_info(), reference::backend_info(),
  });
  return kBackends;
}

}  // namespace runnel
