#include "backends/vulkan/pipelines.h"

#include <algorithm>
#include <thread>

#include "backends/vulkan/disk_cache.h"
#include "backends/vulkan/memory.h"
#include "shaders/shader_table.h"

namespace runnel::vulkan {
namespace {

VkDescriptorSetLayoutBinding storage(std::uint32_t binding, std::uint32_t count) {
  VkDescriptorSetLayoutBinding made{};
  made.binding = binding;
  made.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  made.descriptorCount = count;
  made.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
  return made;
}

Status make_set_layout(const Device& device,
                       std::span<const VkDescriptorSetLayoutBinding> bindings,
                       VkDescriptorSetLayout& layout) {
  VkDescriptorSetLayoutCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
  info.bindingCount = static_cast<std::uint32_t>(bindings.size());
  info.pBindings = bindings.data();
  return to_status(device.api().CreateDescriptorSetLayout(device.handle(), &info, nullptr, &layout),
                   "descriptor set layout");
}

/// Threads that compile beside the one that waits.
std::size_t n_compilers() {
  constexpr std::size_t kMost = 7;
  const std::size_t cores = std::thread::hardware_concurrency();
  return std::clamp<std::size_t>(cores, 2, kMost + 1) - 1;
}

}  // namespace

Pipelines::Pipelines(Device& device, Log log)
    : device_(device),
      log_(std::move(log)),
      table_([this](const PipelineKey& key, Pipeline& made) { return build(key, made); },
             [this] { save(); },
             n_compilers()) {}

Pipelines::~Pipelines() {
  const VkApi& api = device_.api();
  table_.stop();
  save();
  table_.visit([this](Pipeline& pipeline) { destroy(pipeline); });
  if (step_layout_ != VK_NULL_HANDLE)
    api.DestroyDescriptorSetLayout(device_.handle(), step_layout_, nullptr);
  if (cache_ != VK_NULL_HANDLE) api.DestroyPipelineCache(device_.handle(), cache_, nullptr);
}

void Pipelines::destroy(Pipeline& p) const {
  const VkApi& api = device_.api();
  if (p.pipeline != VK_NULL_HANDLE) api.DestroyPipeline(device_.handle(), p.pipeline, nullptr);
  if (p.layout != VK_NULL_HANDLE) api.DestroyPipelineLayout(device_.handle(), p.layout, nullptr);
  if (p.operands != VK_NULL_HANDLE)
    api.DestroyDescriptorSetLayout(device_.handle(), p.operands, nullptr);
  p = {};
}

Status Pipelines::open() {
  const VkDescriptorSetLayoutBinding step[] = {storage(0, 1), storage(1, Memory::kMaxStateBlocks),
                                               storage(2, 1)};
  RUNNEL_TRY(make_set_layout(device_, step, step_layout_));
  path_ = cache_path(device_.caps(), "pipelines");
  const std::vector<std::byte> stored = read_cache_file(path_);
  VkPipelineCacheCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
  info.initialDataSize = stored.size();
  info.pInitialData = stored.data();
  VkResult made = device_.api().CreatePipelineCache(device_.handle(), &info, nullptr, &cache_);
  if (made != VK_SUCCESS && !stored.empty()) {  // the driver does not want what it once wrote
    info.initialDataSize = 0;
    made = device_.api().CreatePipelineCache(device_.handle(), &info, nullptr, &cache_);
  }
  n_saved_ = stored.size();
  return to_status(made, "vkCreatePipelineCache");
}

void Pipelines::save() {
  const std::lock_guard lock(saving_);
  std::size_t size = 0;
  const VkApi& api = device_.api();
  if (path_.empty() || cache_ == VK_NULL_HANDLE ||
      api.GetPipelineCacheData(device_.handle(), cache_, &size, nullptr) != VK_SUCCESS)
    return;
  if (size <= n_saved_) return;
  std::vector<std::byte> data(size);
  if (api.GetPipelineCacheData(device_.handle(), cache_, &size, data.data()) != VK_SUCCESS) return;
  data.resize(size);
  const Status written = write_cache_file(path_, data);
  if (written.ok()) n_saved_ = size;
  if (!written.ok()) log_(LogLevel::debug, "pipeline_cache=unwritten ", written.message());
}

Status Pipelines::make(const PipelineKey& key, Pipeline& pipeline) const {
  const auto& [shader, constants] = key;
  const shaders::Shader* const found = shaders::find_shader(shader);
  if (found == nullptr) return {Code::unsupported, "vulkan: no shader " + shader};
  RUNNEL_ASSIGN(pipeline.interface, reflect(found->words));
  std::vector<VkDescriptorSetLayoutBinding> bindings;
  for (std::uint32_t i = 0; i < pipeline.interface.counts.size(); ++i)
    if (pipeline.interface.counts[i] > 0)
      bindings.push_back(storage(i, pipeline.interface.counts[i]));
  RUNNEL_TRY(make_set_layout(device_, bindings, pipeline.operands));
  const VkApi& api = device_.api();
  const VkDescriptorSetLayout sets[] = {pipeline.operands, step_layout_};
  const VkPushConstantRange push{VK_SHADER_STAGE_COMPUTE_BIT, 0, kPushBytes};
  VkPipelineLayoutCreateInfo layout{};
  layout.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
  layout.setLayoutCount = 2;
  layout.pSetLayouts = sets;
  layout.pushConstantRangeCount = 1;
  layout.pPushConstantRanges = &push;
  RUNNEL_TRY(to_status(
      api.CreatePipelineLayout(device_.handle(), &layout, nullptr, &pipeline.layout), shader));
  VkShaderModuleCreateInfo code{};
  code.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
  code.codeSize = found->words.size_bytes();
  code.pCode = found->words.data();
  VkShaderModule module = VK_NULL_HANDLE;
  RUNNEL_TRY(to_status(api.CreateShaderModule(device_.handle(), &code, nullptr, &module), shader));
  std::vector<VkSpecializationMapEntry> entries;
  for (std::uint32_t i = 0; i < constants.size(); ++i) entries.push_back({i, i * 4, 4});
  const VkSpecializationInfo special{static_cast<std::uint32_t>(entries.size()), entries.data(),
                                     constants.size() * 4, constants.data()};
  VkComputePipelineCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = module;
  info.stage.pName = "main";
  info.stage.pSpecializationInfo = &special;
  info.layout = pipeline.layout;
  const VkResult made =
      api.CreateComputePipelines(device_.handle(), cache_, 1, &info, nullptr, &pipeline.pipeline);
  api.DestroyShaderModule(device_.handle(), module, nullptr);
  return to_status(made, "compiling " + shader);
}

Status Pipelines::build(const PipelineKey& key, Pipeline& pipeline) const {
  Status made = make(key, pipeline);
  if (!made.ok()) destroy(pipeline);
  return made;
}

Result<const Pipeline*> Pipelines::get(const std::string& shader,
                                       const std::vector<std::uint32_t>& constants) {
  RUNNEL_ASSIGN(const Pipeline* const pipeline, table_.get({shader, constants}));
  return pipeline;
}

}  // namespace runnel::vulkan
