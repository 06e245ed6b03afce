// Set 1 of every shader: a step's parameters, page tables and indirect grids, written by the host
// before a submit; the blocks that hold states; the status that shaders report. Shared by all
// executables of a backend, which run one at a time.
#pragma once
#include <set>

#include "backends/vulkan/memory.h"
#include "backends/vulkan/pipelines.h"
#include "runtime/backend/step.h"

namespace runnel::vulkan {

class StepMemory {
 public:
  static constexpr std::size_t kMaxIndirect = 4096;  // grids of one executable

  StepMemory(Device& device, Memory& memory, Pipelines& pipelines)
      : device_(device), memory_(memory), pipelines_(pipelines) {}
  StepMemory(const StepMemory&) = delete;
  StepMemory& operator=(const StepMemory&) = delete;
  ~StepMemory();
  /// ERRORS: out_of_memory.
  Status open();
  /// Writes parameters and the tables of the states with these numbers. ERRORS: invalid_argument (a
  /// state without memory), out_of_memory.
  Status write(const StepParams& params,
               const StateTable& states,
               const std::set<std::size_t>& used);
  /// Makes the descriptor set name all blocks; changes generation() when it had to.
  Status refresh();
  /// Command buffers recorded at another generation must be recorded again.
  std::uint64_t generation() const { return generation_; }
  VkDescriptorSet set() const { return set_; }
  const Block& indirect() const { return *indirect_; }
  /// Ok, or what a shader complained about; and forgets it.
  Status take_status();

 private:
  Status grow(std::size_t words);

  Device& device_;
  Memory& memory_;
  Pipelines& pipelines_;
  const Block *tables_ = nullptr, *indirect_ = nullptr, *status_ = nullptr;
  VkDescriptorPool pool_ = VK_NULL_HANDLE;
  VkDescriptorSet set_ = VK_NULL_HANDLE;
  std::size_t n_blocks_ = 0;
  std::uint64_t generation_ = 0;
  bool stale_ = true;
  std::vector<std::uint32_t> words_;  // what was written last
};

}  // namespace runnel::vulkan
