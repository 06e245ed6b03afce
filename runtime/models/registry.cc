// The list of architectures.
#include <array>

#include "runtime/models/arch.h"
#include "runtime/models/lfm2.h"
#include "runtime/models/llama.h"

namespace runnel {

std::span<const Arch> archs() {
  static constexpr std::array kArchs{
      Arch{"lfm2", read_lfm2_config},
      Arch{"lfm2moe", read_lfm2moe_config},
      Arch{"llama", read_llama_config},
      Arch{"qwen3", read_qwen3_config},
  };
  return kArchs;
}

}  // namespace runnel
