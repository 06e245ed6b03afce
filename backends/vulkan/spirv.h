// The little that the backend reads from a shader: its bindings in set 0. Stateless.
// SOURCE: SPIR-V specification 1.3, sections 2.3 (layout) and 3.32 (instructions).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/base/status.h"

namespace runnel::vulkan {

struct ShaderInterface {
  std::vector<std::uint32_t> counts;  // descriptors of binding i; 0: not there
  bool uses_step = false;             // set 1
};

/// ERRORS: corrupt.
Result<ShaderInterface> reflect(std::span<const std::uint32_t> words);

}  // namespace runnel::vulkan
