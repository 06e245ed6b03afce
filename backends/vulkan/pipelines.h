// Compiled shaders, one VkPipeline per (shader, specialisation constants), and the driver's cache
// of them on disk, so that a second start compiles nothing. Used by one thread at a time.
#pragma once
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backends/vulkan/device.h"
#include "backends/vulkan/spirv.h"

namespace runnel::vulkan {

struct Pipeline {
  VkPipeline pipeline = VK_NULL_HANDLE;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  VkDescriptorSetLayout operands = VK_NULL_HANDLE;
  ShaderInterface interface;
};

class Pipelines {
 public:
  static constexpr std::uint32_t kPushBytes = 128;

  Pipelines(Device& device, Log log) : device_(device), log_(std::move(log)) {}
  Pipelines(const Pipelines&) = delete;
  Pipelines& operator=(const Pipelines&) = delete;
  ~Pipelines();
  /// Makes the layout of set 1 and reads the cache file; a file of another driver or of other
  /// shaders is ignored.
  Status open();
  /// ERRORS: unsupported (no such shader), out_of_memory, internal (the driver refused it).
  Result<const Pipeline*> get(const std::string& shader,
                              const std::vector<std::uint32_t>& constants);
  /// Compiles what get() will be asked for, by several threads: a first start waits for the
  /// driver's compiler more than for anything else. What fails here fails again in get().
  void prepare(std::span<const std::pair<std::string, std::vector<std::uint32_t>>> wanted);
  /// Writes the cache file when there is something new in it.
  void save();
  VkDescriptorSetLayout step_layout() const { return step_layout_; }
  std::size_t n_compiled() const { return pipelines_.size(); }

 private:
  Status make(const std::string& shader,
              const std::vector<std::uint32_t>& constants,
              Pipeline& pipeline);

  void destroy(Pipeline& pipeline) const;

  Device& device_;
  Log log_;
  std::string path_;  // of the cache file; empty: none
  std::size_t n_saved_ = 0;
  VkPipelineCache cache_ = VK_NULL_HANDLE;
  VkDescriptorSetLayout step_layout_ = VK_NULL_HANDLE;
  std::map<std::pair<std::string, std::vector<std::uint32_t>>, Pipeline> pipelines_;
};

}  // namespace runnel::vulkan
