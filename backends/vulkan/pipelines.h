// Compiled shaders, one VkPipeline per (shader, specialisation constants), and the driver's cache
// of them on disk, so that a second start compiles nothing. Threads of its own compile what will be
// used soon, so that a first token waits for its own kernels only. Used by one thread at a time.
#pragma once
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backends/vulkan/device.h"
#include "backends/vulkan/spirv.h"
#include "runtime/base/build_ahead.h"

namespace runnel::vulkan {

struct Pipeline {
  VkPipeline pipeline = VK_NULL_HANDLE;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  VkDescriptorSetLayout operands = VK_NULL_HANDLE;
  ShaderInterface interface;
};

/// Shader, and its specialisation constants.
using PipelineKey = std::pair<std::string, std::vector<std::uint32_t>>;

class Pipelines {
 public:
  static constexpr std::uint32_t kPushBytes = 128;

  Pipelines(Device& device, Log log);
  Pipelines(const Pipelines&) = delete;
  Pipelines& operator=(const Pipelines&) = delete;
  /// Waits for the driver's compiler where it is at work, and saves.
  ~Pipelines();
  /// Makes the layout of set 1 and reads the cache file; a file of another driver or of other
  /// shaders is ignored.
  Status open();
  /// ERRORS: unsupported (no such shader), out_of_memory, internal (the driver refused it).
  Result<const Pipeline*> get(const std::string& shader,
                              const std::vector<std::uint32_t>& constants);
  /// Compiles what get() will be asked for, before all else and by several threads. What fails here
  /// fails again in get().
  void prepare(std::span<const PipelineKey> wanted) { table_.prepare(wanted); }
  /// Begins to compile what prepare() or get() will be asked for later; returns at once.
  void expect(std::span<const PipelineKey> wanted) { table_.expect(wanted); }
  VkDescriptorSetLayout step_layout() const { return step_layout_; }

 private:
  Status make(const PipelineKey& key, Pipeline& pipeline) const;
  Status build(const PipelineKey& key, Pipeline& pipeline) const;
  void destroy(Pipeline& pipeline) const;
  /// Writes the cache file when there is something new in it.
  void save();

  Device& device_;
  Log log_;
  std::string path_;  // of the cache file; empty: none
  std::mutex saving_;
  std::size_t n_saved_ = 0;
  VkPipelineCache cache_ = VK_NULL_HANDLE;
  VkDescriptorSetLayout step_layout_ = VK_NULL_HANDLE;
  BuildAhead<PipelineKey, Pipeline> table_;
};

}  // namespace runnel::vulkan
