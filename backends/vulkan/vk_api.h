// Vulkan's functions, found at run time: nothing is linked. One VkApi per Backend; the loader stays
// open as long as the VkApi lives. Read-only after opening, so any thread may use it.
#pragma once
#include <vulkan/vulkan.h>

#include <string_view>

#include "runtime/base/status.h"

#define RUNNEL_VK_INSTANCE_FUNCTIONS(X)     \
  X(DestroyInstance)                        \
  X(EnumeratePhysicalDevices)               \
  X(EnumerateDeviceExtensionProperties)     \
  X(GetPhysicalDeviceProperties2)           \
  X(GetPhysicalDeviceFeatures2)             \
  X(GetPhysicalDeviceMemoryProperties)      \
  X(GetPhysicalDeviceQueueFamilyProperties) \
  X(CreateDevice)                           \
  X(GetDeviceProcAddr)

#define RUNNEL_VK_DEVICE_FUNCTIONS(X) \
  X(DestroyDevice)                    \
  X(GetDeviceQueue)                   \
  X(QueueSubmit)                      \
  X(DeviceWaitIdle)                   \
  X(CreateFence)                      \
  X(DestroyFence)                     \
  X(ResetFences)                      \
  X(GetFenceStatus)                   \
  X(WaitForFences)                    \
  X(CreateBuffer)                     \
  X(DestroyBuffer)                    \
  X(GetBufferMemoryRequirements)      \
  X(AllocateMemory)                   \
  X(FreeMemory)                       \
  X(BindBufferMemory)                 \
  X(MapMemory)                        \
  X(CreateShaderModule)               \
  X(DestroyShaderModule)              \
  X(CreateDescriptorSetLayout)        \
  X(DestroyDescriptorSetLayout)       \
  X(CreatePipelineLayout)             \
  X(DestroyPipelineLayout)            \
  X(CreateComputePipelines)           \
  X(DestroyPipeline)                  \
  X(CreatePipelineCache)              \
  X(DestroyPipelineCache)             \
  X(GetPipelineCacheData)             \
  X(CreateDescriptorPool)             \
  X(DestroyDescriptorPool)            \
  X(AllocateDescriptorSets)           \
  X(UpdateDescriptorSets)             \
  X(CreateCommandPool)                \
  X(DestroyCommandPool)               \
  X(AllocateCommandBuffers)           \
  X(FreeCommandBuffers)               \
  X(BeginCommandBuffer)               \
  X(EndCommandBuffer)                 \
  X(ResetCommandBuffer)               \
  X(CmdBindPipeline)                  \
  X(CmdBindDescriptorSets)            \
  X(CmdPushConstants)                 \
  X(CmdDispatch)                      \
  X(CmdDispatchIndirect)              \
  X(CmdPipelineBarrier)               \
  X(CmdCopyBuffer)                    \
  X(CmdFillBuffer)                    \
  X(CreateQueryPool)                  \
  X(DestroyQueryPool)                 \
  X(CmdResetQueryPool)                \
  X(CmdWriteTimestamp)                \
  X(GetQueryPoolResults)

namespace runnel::vulkan {

/// Members have the names of Vulkan's functions without "vk".
struct VkApi {
#define RUNNEL_VK_MEMBER(name) PFN_vk##name name = nullptr;
  RUNNEL_VK_MEMBER(GetInstanceProcAddr)
  RUNNEL_VK_MEMBER(EnumerateInstanceVersion)
  RUNNEL_VK_MEMBER(EnumerateInstanceLayerProperties)
  RUNNEL_VK_MEMBER(CreateInstance)
  RUNNEL_VK_INSTANCE_FUNCTIONS(RUNNEL_VK_MEMBER)
  RUNNEL_VK_DEVICE_FUNCTIONS(RUNNEL_VK_MEMBER)
#undef RUNNEL_VK_MEMBER

  VkApi() = default;
  VkApi(const VkApi&) = delete;
  VkApi& operator=(const VkApi&) = delete;
  ~VkApi();
  /// Opens libvulkan.so.1. ERRORS: unsupported (no loader, or one for Vulkan 1.0 only).
  Status open();
  /// ERRORS: unsupported (a function is missing).
  Status load_instance(VkInstance instance);
  Status load_device(VkDevice device);

 private:
  void* library_ = nullptr;
};

/// "VK_ERROR_DEVICE_LOST" and so on; a number for those we do not expect.
std::string_view result_name(VkResult result);
/// Ok for VK_SUCCESS, else the Code that fits: device_lost, out_of_memory, unsupported, internal.
Status to_status(VkResult result, std::string_view what);

}  // namespace runnel::vulkan
