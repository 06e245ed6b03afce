#include "runtime/backend/registry.h"

#include <array>

#include "backends/cpu/cpu.h"
#include "backends/reference/reference.h"

namespace runnel {

std::span<const BackendInfo> backend_registry() {
  static const std::array<BackendInfo, 2> kBackends{cpu::backend_info(), reference::backend_info()};
  return kBackends;
}

}  // namespace runnel
